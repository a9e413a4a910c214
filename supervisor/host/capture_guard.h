// `[network.intercept] when_proxy_down = "open"`: lifts the capture while the proxy is down for
// good or waits to be restarted, and restores it when the proxy is ready again. A proxy that is
// restarted at once is not down: connections wait in the listeners that the keeper holds. With
// "closed" it does nothing: they wait, and nothing goes past the proxy.
#pragma once

#include <functional>

#include "config/service.h"
#include "runtime/result.h"
#include "supervisor/core/status.h"

namespace pillion::supervisor::host {

enum class CaptureWish { Keep, Lift, Restore };

// What is to be done about capture that is in force or lifted, given all sidecars that are proxies.
CaptureWish choose_capture_wish(const core::ServiceStatus& status, core::ChildId proxy,
                                bool is_lifted);

class CaptureGuard {
 public:
  using OnDone = std::function<void(Result<void>)>;
  using Command = std::function<void(OnDone)>;

  CaptureGuard(const config::Service& service, Command lift, Command restore);

  // Call whenever the status may have changed and capture is live; starts at most one command at a
  // time.
  void observe(const core::ServiceStatus& status);
  // By the configuration of now. False: observe() has no use, and its argument need not be
  // computed.
  bool is_wanted() const;
  bool is_lifted() const { return is_lifted_; }
  // Of a supervisor that takes over and cannot know what the one before had done.
  void assume_lifted() { is_lifted_ = is_wanted(); }

 private:
  void finish(bool is_lifted, const Result<void>& result);

  const config::Service& service_;
  Command lift_;
  Command restore_;
  bool is_lifted_ = false;
  bool is_busy_ = false;
};

}  // namespace pillion::supervisor::host
