// TLS that passes through, led by the name in its ClientHello. See tcp_relay.h.
#include "proxy/client_hello.h"
#include "proxy/detect.h"
#include "proxy/tcp_relay.h"
#include "proxy/worker.h"

namespace pillion::proxy {

// Where a name alone decides, and where TLS goes to a destination that no upstream stands for.
bool TcpRelay::is_asking_for_name() const {
  if (is_by_name_) return true;
  const bool may_lead_elsewhere = !facts_.cluster || context_.is_upstream_fallback;
  return may_lead_elsewhere && facts_.direction == Direction::Outbound &&
         facts_.snapshot->routes_server_names() &&
         detect_protocol(upstream_.out.view()) == Detected::Tls;
}

TcpRelay::Named TcpRelay::look_for_name() {
  using Status = ClientHello::Status;
  const ClientHello hello = parse_client_hello(upstream_.out.view());
  if (hello.status == Status::Incomplete) return Named::Undecided;
  if (hello.status == Status::Complete) {
    if (const auto upstream = facts_.snapshot->upstream_of_server_name(hello.server_name)) {
      go_to(*upstream);
      return Named::Decided;
    }
    if (is_by_name_ && context_.upstream) {
      go_to(*context_.upstream);
      return Named::Decided;
    }
  }
  if (!is_by_name_) {  // it goes where it was going
    mode_ = Mode::Relaying;
    return Named::Decided;
  }
  if (hello.status == Status::NotTls) {
    refuse_hello({}, Flag::DownstreamTlsFailure, "not_tls");
  } else if (hello.status == Status::Complete) {
    refuse_hello(fatal_alert(kAlertUnrecognizedName), Flag::NoRoute, "no_upstream_for_server_name");
  } else {
    refuse_hello(fatal_alert(kAlertDecodeError), Flag::DownstreamTlsFailure,
                 "client_hello_refused");
  }
  return Named::Ended;
}

// Leaves what was connected, if anything, for an upstream; what the client said goes there.
void TcpRelay::go_to(std::size_t upstream) {
  stop_waiting();
  upstream_.socket.close();
  is_rerouted_ = !is_by_name_;
  is_by_name_ = is_connect_failed_ = upstream_.is_connected = false;
  mode_ = Mode::Relaying;
  facts_.stats->active.subtract();
  if (facts_.cluster) --facts_.cluster->active_requests;
  facts_.cluster = context_.routes->clusters[upstream];
  ++facts_.cluster->active_requests;
  facts_.stats = &facts_.cluster->stats(facts_.direction, worker_.stats());
  facts_.stats->active.add();
  facts_.endpoint.reset();
  facts_.attempts = 0;
  connect_upstream();
}

void TcpRelay::refuse_hello(std::string_view alert, Flag flag, std::string_view details) {
  if (!alert.empty()) {
    downstream_.socket.write(alert.data(), alert.size());
    downstream_.socket.shutdown_write();
    is_alert_sent_ = true;  // a reset would destroy it
  }
  finish(flag, details);
}

}  // namespace pillion::proxy
