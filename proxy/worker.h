// A worker: one thread, one reactor, and everything that its connections share. Nothing here is
// touched by another thread except through post() and the counters.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "proxy/access_log.h"
#include "proxy/app_ports.h"
#include "proxy/app_sockets.h"
#include "proxy/buffers.h"
#include "proxy/cluster.h"
#include "proxy/endpoint.h"
#include "proxy/exchange.h"
#include "proxy/http2_connection.h"
#include "proxy/http_connection.h"
#include "proxy/listener.h"
#include "proxy/overload.h"
#include "proxy/owned_list.h"
#include "proxy/pipe_pool.h"
#include "proxy/reactor.h"
#include "proxy/request_id.h"
#include "proxy/shedding.h"
#include "proxy/snapshot.h"
#include "proxy/stats.h"
#include "proxy/tcp_relay.h"
#include "proxy/tls_acceptor.h"
#include "proxy/tls_context.h"
#include "proxy/udp/forwarder.h"
#include "runtime/loop.h"

namespace pillion::proxy {

// The resolved addresses of each upstream, by index.
using ResolvedUpstreams = std::vector<std::vector<Address>>;

class Worker final : private BatchEnd {
 public:
  // `log` may be null (access log off).
  // `stock` where the app is in a sealed namespace, else null.
  Worker(std::string via_token, AccessLog* log, config::AccessLogFormat format,
         SocketStock* stock = nullptr, std::size_t read_buffer_bytes = BufferPool::kReadBytes);
  ~Worker();

  void start();  // the thread
  // Asks the thread to end and waits for it. Connections that are left are closed.
  void stop();
  // Runs `task` on the worker's thread. Any thread.
  void post(std::function<void()> task);

  // ---- On the worker's thread (through post).
  void add_listener(int fd, const ListenerInfo& info);
  void remove_listeners(bool inbound_only);
  void set_snapshot(SnapshotPointer snapshot, const ResolvedUpstreams& resolved,
                    TlsPointer tls = nullptr);
  // New certificates: connections made from now on use them.
  void set_tls(TlsPointer tls);
  // From now on, new requests and connections to the app go there.
  void set_app_ports(AppPorts ports);
  // Requests and connections under way, by the port on which the app serves them.
  std::map<std::uint16_t, std::size_t> count_busy_app_ports() const;
  void set_resolved(std::size_t upstream, const std::vector<Address>& addresses);
  // Responses on inbound connections say `Connection: close` from now on.
  void begin_drain();
  // Inbound ones that have no request under way, but for those about to send their first one.
  void close_drained();
  // Connections that have a request under way, or may have their first one at any moment.
  std::size_t count_busy() const;
  std::size_t count_connections(Direction direction) const;
  std::size_t count_all() const;
  void abort_all();
  // Gives memory back as the level of overload asks: idle connections end, pools are emptied, what
  // holds most ends.
  void shed(const Shedding& shedding);

  // ---- Any thread.
  void set_overload(OverloadLevel level) { overload_.store(level, std::memory_order_relaxed); }
  // Asked to look at the memory in use when much may have been taken since the last time; sets the
  // level, and returns whether what holds most is to end.
  void set_memory_check(std::function<bool()> check);
  void set_connections_max(std::size_t count) { connections_max_ = count; }  // before start()

  // ---- For connections.
  Reactor& reactor() { return reactor_; }
  BufferPool& buffers() { return buffers_; }
  WorkerStats& stats() { return stats_; }
  const WorkerStats& stats() const { return stats_; }
  RandomSource& random() { return random_; }
  EndpointTable& endpoints() { return endpoints_; }
  http1::RequestHead& request_head() { return request_head_; }
  http1::ResponseHead& response_head() { return response_head_; }
  std::string& scratch() { return scratch_; }
  Http2Fields& http2_fields() { return http2_fields_; }
  const std::string& via_token() const { return via_token_; }  // "(5f3a9c21)"
  bool is_draining_inbound() const { return is_draining_inbound_; }
  OverloadLevel overload() const { return overload_.load(std::memory_order_relaxed); }
  PipePool& pipes() { return pipes_; }
  bool is_log_enabled() const { return log_ != nullptr; }

  std::unique_ptr<Exchange> take_exchange();
  void give_exchange(std::unique_ptr<Exchange> exchange);
  // Fills in the wall-clock start from started_ns and writes the line.
  void log(AccessRecord& record, std::int64_t started_ns);

  void adopt(std::unique_ptr<HttpConnection> connection);
  void adopt(std::unique_ptr<TcpRelay> relay);
  void remove(TlsAcceptor& acceptor);
  void remove(Http2Connection& connection);
  // The client sent the preface of HTTP/2 first; `first` is what was read of it.
  void begin_http2(DownstreamContext context, Socket socket, std::string_view first);
  // Serves an accepted connection by what it speaks.
  void begin_connection(DownstreamContext context, config::ProxyProtocol protocol, Socket socket);
  void remove(HttpConnection& connection);
  void remove(TcpRelay& relay);
  std::shared_ptr<Endpoint> endpoint_of(const RouteTable& routes, const Address& address,
                                        bool is_app, bool is_http2 = false);
  // Where the app serves this address now.
  Address app_address(const Address& address) const {
    return address.with_port(app_ports_.app_port_of(address.port()));
  }
  udp::Batch& udp_batch();
  // Before each use of an endpoint that the context has: a deploy may have moved the app meanwhile.
  void follow_app(DownstreamContext& context);
  std::shared_ptr<const RouteTable> routes() const { return routes_; }

 private:
  // Between two looks at the memory; the timer and the buffers' growth look too.
  static constexpr std::size_t kConnectionsStep = 128;

  class AcceptWatcher;
  class Housekeeping;

  void run();
  void run_posted();
  void on_batch_end() override { run_posted(); }
  void keep_endpoints(Cluster& cluster);
  void accept_some(AcceptWatcher& watcher);
  void accepted(const ListenerInfo& info, Fd fd, const Address& peer);
  void begin(DownstreamContext context, config::ProxyProtocol protocol, config::MutualTls tls,
             Fd fd);
  EndpointOptions options_of(const Cluster& cluster, std::size_t index) const;
  void look_at_memory();
  void close_idle();
  void end_largest(const Shedding& shedding);
  bool has_room_for(const Address& peer);
  // What a port of the app says of its connections.
  struct InboundRules {
    config::ProxyProtocol protocol = config::ProxyProtocol::Auto;
    config::MutualTls mutual_tls = config::MutualTls::Disable;
  };
  bool lead_to_app(const ListenerInfo& info, int fd, DownstreamContext& context,
                   InboundRules& rules);
  void refuse(const Address& peer, std::string_view why);
  void flush_log();

  Loop loop_;
  Reactor reactor_;
  Wakeup wakeup_;
  std::mutex tasks_mutex_;
  std::vector<std::function<void()>> tasks_;

  BufferPool buffers_;
  PipePool pipes_;
  std::atomic<OverloadLevel> overload_{OverloadLevel::Normal};
  std::function<bool()> memory_check_;
  std::size_t connections_checkpoint_ = kConnectionsStep;
  std::size_t connections_max_ = SIZE_MAX;  // beside limits.max_connections
  WorkerStats stats_;
  RandomSource random_;
  std::unique_ptr<AppSockets> app_sockets_;  // null: the app is in our own namespace
  AppPorts app_ports_;
  EndpointTable endpoints_;
  http1::RequestHead request_head_;
  http1::ResponseHead response_head_;
  std::string scratch_;
  Http2Fields http2_fields_;
  std::string via_token_;
  std::vector<std::unique_ptr<Exchange>> free_exchanges_;
  std::size_t exchanges_under_way_ = 0;

  AccessLog* log_;
  AccessFormatter formatter_;
  std::string log_lines_;

  std::shared_ptr<const RouteTable> routes_;
  std::vector<std::unique_ptr<AcceptWatcher>> listeners_;
  OwnedList<HttpConnection> http_connections_;
  std::unordered_map<const void*, std::unique_ptr<TcpRelay>> relays_;
  std::unordered_map<const void*, std::unique_ptr<TlsAcceptor>> acceptors_;
  std::unordered_map<const void*, std::unique_ptr<Http2Connection>> http2_connections_;
  std::unique_ptr<udp::Batch> udp_batch_;  // from the first datagram on
  std::vector<std::unique_ptr<udp::Forwarder>> forwarders_;
  Milliseconds drain_begun_ = 0;
  std::unique_ptr<Housekeeping> housekeeping_;
  std::int64_t wall_offset_ns_ = 0;  // wall clock minus monotonic clock
  Milliseconds flush_interval_ = 200;
  Milliseconds swept_at_ = 0;
  bool is_draining_inbound_ = false;
  std::thread thread_;
};

}  // namespace pillion::proxy
