// Asks the proxy, over its admin endpoint, to send new requests to another local port of the app,
// and whether the old one is done with what it has. Tries again while the proxy does not answer: it
// may be restarting.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "config/proxy.h"
#include "runtime/loop.h"
#include "supervisor/host/app_template.h"
#include "supervisor/host/net_probe.h"

namespace pillion::supervisor::host {

class TrafficShift {
 public:
  using OnMoved = std::function<void(Result<void>)>;

  explicit TrafficShift(Loop& loop) : loop_(loop), again_(loop) {}

  // One thing at a time: each call ends what was asked for before, without an answer to that.
  // Answers run from the loop. `network_namespace` is where the proxy's admin endpoint is; -1 =
  // here.
  void move(const config::ProxyConfig& proxy, int network_namespace, const AppPortMap& ports,
            OnMoved on_moved);
  // Asks until nothing is under way on any of `ports`; for as long as it is not cancelled.
  void await_idle(const config::ProxyConfig& proxy, int network_namespace,
                  std::vector<std::uint16_t> ports, std::function<void()> on_idle);
  void cancel();

 private:
  void ask();
  void on_answer(NetProbeOutcome outcome, const std::string& detail);

  Loop& loop_;
  NetProbeTarget target_;
  int network_namespace_ = -1;
  std::unique_ptr<NetProbe> call_;
  Timer again_;
  unsigned attempts_ = 0;
  std::uint64_t serial_ = 0;  // of the call; answers to others come too late
  OnMoved on_moved_;
  std::vector<std::uint16_t> awaited_;  // the last one is asked for
  std::function<void()> on_idle_;
};

}  // namespace pillion::supervisor::host
