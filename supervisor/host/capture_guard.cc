#include "supervisor/host/capture_guard.h"

#include <algorithm>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

bool is_down(const core::ChildStatus& proxy) {
  using State = core::ChildState;
  return proxy.state == State::Backoff || proxy.state == State::Failed ||
         proxy.state == State::Stopped || proxy.state == State::Stuck;
}

// Null when there is none whose absence would be made up for.
const config::Child* find_proxy(const config::Service& service) {
  const config::Intercept& intercept = service.network.intercept;
  const bool is_captured = intercept.inbound || intercept.outbound;
  if (!is_captured || intercept.when_proxy_down != config::ProxyDown::Open) return nullptr;
  // A sealed app has no other way to go.
  if (service.network.mode == config::NetworkMode::Sealed) return nullptr;
  return service.using_component(config::Component::Proxy);
}

core::ChildId find_slot(const core::ServiceStatus& status, const std::string& name) {
  for (const core::ChildStatus& child : status.children) {
    if (child.name == name && !child.is_leaving) return child.id;
  }
  return status.children.size();
}

}  // namespace

CaptureWish choose_capture_wish(const core::ServiceStatus& status, core::ChildId proxy,
                                bool is_lifted) {
  if (proxy >= status.children.size()) return CaptureWish::Keep;
  // A service that starts has no capture yet, one that stops needs none to change.
  if (status.state != core::ServiceState::Running) return CaptureWish::Keep;
  const core::ChildStatus& child = status.children[proxy];
  if (!is_lifted && is_down(child)) return CaptureWish::Lift;
  const bool is_back = child.state == core::ChildState::Running && child.is_ready;
  return is_lifted && is_back ? CaptureWish::Restore : CaptureWish::Keep;
}

CaptureGuard::CaptureGuard(const config::Service& service, Command lift, Command restore)
    : service_(service), lift_(std::move(lift)), restore_(std::move(restore)) {}

bool CaptureGuard::is_wanted() const { return find_proxy(service_) != nullptr; }

void CaptureGuard::observe(const core::ServiceStatus& status) {
  const config::Child* proxy = find_proxy(service_);
  if (!proxy || is_busy_) return;
  const CaptureWish wish = choose_capture_wish(status, find_slot(status, proxy->name), is_lifted_);
  if (wish == CaptureWish::Keep) return;
  is_busy_ = true;
  const bool lifts = wish == CaptureWish::Lift;
  (lifts ? lift_ : restore_)([this, lifts](Result<void> result) { finish(lifts, result); });
}

void CaptureGuard::finish(bool is_lifted, const Result<void>& result) {
  is_busy_ = false;
  if (!result) {
    log::error("cannot {} the capture: {}", is_lifted ? "lift" : "restore",
               result.error().message());
    return;
  }
  is_lifted_ = is_lifted;
  if (is_lifted) {
    log::warn("the proxy is down: the app's connections go past it (when_proxy_down = \"open\")");
  } else {
    log::info("the proxy is back: connections are captured again");
  }
}

}  // namespace pillion::supervisor::host
