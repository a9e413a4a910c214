// One HTTP or TCP probe (or HTTP hook): connects inside the service's network namespace to a
// numeric address, straight to the child. 200–399 succeed; a redirect is not followed but told.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "config/units.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::supervisor::host {

struct NetProbeTarget {
  config::IpAddress address;
  std::uint16_t port = 0;
  bool is_http = false;  // else a completed connection is enough
  std::string method = "GET";
  std::string path = "/";
  std::map<std::string, std::string> headers;
};

// Redirected: a success, unless one wants to know what is there.
enum class NetProbeOutcome { Success, Redirected, Failure, Timeout, Error };

class NetProbe {
 public:
  using OnDone = std::function<void(NetProbeOutcome, const std::string& detail)>;

  explicit NetProbe(Loop& loop);

  // `on_done` runs once, from the loop, unless the object is destroyed before.
  void start(const NetProbeTarget& target, int network_namespace, Duration timeout, OnDone on_done);

 private:
  void on_event(int error);
  void send_request();
  void read_answer();
  void finish(NetProbeOutcome outcome, std::string detail);
  void finish_later(NetProbeOutcome outcome, std::string detail);

  Loop& loop_;
  Fd socket_;
  std::optional<Poll> poll_;
  Timer timer_;
  std::string request_;
  bool is_http_ = false;
  bool is_connected_ = false;
  std::string answer_;
  OnDone on_done_;
};

// GET request of a probe.
std::string make_probe_request(const NetProbeTarget& target);
// The status code of an HTTP/1 status line; 0 when it is none.
int parse_status_line(std::string_view line);

}  // namespace pillion::supervisor::host
