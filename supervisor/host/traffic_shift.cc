#include "supervisor/host/traffic_shift.h"

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

constexpr auto kCallTimeout = std::chrono::seconds(3);
constexpr auto kMovePause = std::chrono::milliseconds(200);
constexpr auto kIdlePause = std::chrono::milliseconds(50);
constexpr unsigned kMoveAttemptsMax = 50;  // ten seconds and more

NetProbeTarget admin_of(const config::ProxyConfig& proxy) {
  NetProbeTarget target;
  target.address = proxy.admin.listen.ip;
  target.port = proxy.admin.listen.port;
  target.is_http = true;
  return target;
}

}  // namespace

void TrafficShift::cancel() {
  again_.stop();
  ++serial_;
  if (call_) loop_.defer_delete(std::move(call_));
  on_moved_ = nullptr;
  on_idle_ = nullptr;
  awaited_.clear();
  attempts_ = 0;
}

void TrafficShift::move(const config::ProxyConfig& proxy, int network_namespace,
                        const AppPortMap& ports, OnMoved on_moved) {
  cancel();
  target_ = admin_of(proxy);
  target_.method = "POST";
  target_.path = "/app_ports";
  for (const auto& [port, app_port] : ports) {
    target_.path +=
        fmt::format("{}{}={}", port == ports.begin()->first ? '?' : '&', port, app_port);
  }
  network_namespace_ = network_namespace;
  on_moved_ = std::move(on_moved);
  ask();
}

void TrafficShift::await_idle(const config::ProxyConfig& proxy, int network_namespace,
                              std::vector<std::uint16_t> ports, std::function<void()> on_idle) {
  cancel();
  target_ = admin_of(proxy);
  network_namespace_ = network_namespace;
  awaited_ = std::move(ports);
  on_idle_ = std::move(on_idle);
  ask();
}

void TrafficShift::ask() {
  if (on_idle_) target_.path = fmt::format("/app_ports?idle={}", awaited_.back());
  if (call_) loop_.defer_delete(std::move(call_));
  call_ = std::make_unique<NetProbe>(loop_);
  call_->start(target_, network_namespace_, kCallTimeout,
               [this, serial = ++serial_](NetProbeOutcome outcome, const std::string& detail) {
                 if (serial == serial_) on_answer(outcome, detail);
               });
}

void TrafficShift::on_answer(NetProbeOutcome outcome, const std::string& detail) {
  const bool is_good = outcome == NetProbeOutcome::Success;
  if (on_idle_) {
    if (is_good) awaited_.pop_back();
    if (awaited_.empty()) {
      const auto on_idle = std::move(on_idle_);
      cancel();
      return on_idle();
    }
    again_.start(is_good ? Duration::zero() : Duration(kIdlePause), [this] { ask(); });
    return;
  }
  // A refusal stays one; whatever else is wrong may pass.
  const bool is_refused = detail == "HTTP 400" || detail == "HTTP 404";
  if (!is_good && !is_refused && ++attempts_ < kMoveAttemptsMax) {
    again_.start(kMovePause, [this] { ask(); });
    return;
  }
  const auto on_moved = std::move(on_moved_);
  cancel();
  on_moved(is_good ? Result<void>() : fail("the proxy's admin endpoint: " + detail));
}

}  // namespace pillion::supervisor::host
