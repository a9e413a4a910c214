// Two sockets joined: plain TCP, an upgraded WebSocket, or a connection whose protocol is not known
// yet. Bytes flow with back-pressure, each direction ends by itself (half-close). Bulk data without
// TLS is spliced: it stays in the kernel.
//
// Detection is a race, never a timeout: the upstream is connected at once; if the server speaks
// first it is TCP, if the client's first bytes are HTTP/1 the connection goes on as an
// HttpConnection.
//
// TLS that is not terminated here may be led by the name in its ClientHello (tcp_relay_names.cc):
// where that decides alone, nothing is connected before.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/app_sockets.h"
#include "proxy/buffers.h"
#include "proxy/cluster.h"
#include "proxy/http_connection.h"
#include "proxy/pipe_pool.h"
#include "proxy/socket.h"
#include "proxy/stats.h"

namespace pillion::proxy {

class Worker;

// What the log will say, and what the relay keeps alive.
struct RelayFacts {
  Direction direction = Direction::Outbound;
  std::string_view protocol = "tcp";  // static text
  Address peer;
  std::int64_t started_ns = 0;
  std::string method;  // of an upgraded request; else empty
  std::string path;
  std::string authority;
  std::string request_id;
  std::string_view tls_version;
  std::string peer_uri;
  int status = 0;
  RouteStats* stats = nullptr;
  std::shared_ptr<Cluster> cluster;    // shared, see RouteTable
  std::shared_ptr<Endpoint> endpoint;  // shared, see EndpointTable
  unsigned attempts = 0;
  SnapshotPointer snapshot;
};

class TcpRelay final : public Deadline, private AppSockets::Waiter {
 public:
  // Joins two connected sockets; the views are what was received already, for the upstream and for
  // the client.
  TcpRelay(Worker& worker, RelayFacts facts, Socket downstream, Socket upstream,
           std::string_view to_upstream, std::string_view to_downstream);
  // Connects to facts.endpoint (or one of facts.cluster) first. With `detecting`, the context is
  // what an HttpConnection would need.
  TcpRelay(Worker& worker, RelayFacts facts, Socket downstream, bool detecting,
           DownstreamContext context);
  ~TcpRelay() override;

  void begin();
  void abort(Flag flag, std::string_view details);
  Direction direction() const { return facts_.direction; }
  const Endpoint* endpoint() const { return facts_.endpoint.get(); }
  std::size_t held_bytes(bool counts_sockets) const {
    return downstream_.held_bytes(counts_sockets) + upstream_.held_bytes(counts_sockets);
  }
  // Nothing has been said yet, so ending it hurts nobody.
  bool is_silent() const { return mode_ == Mode::Detecting && upstream_.out.is_empty(); }

  void on_deadline(Milliseconds now) override;

 private:
  enum class Mode : std::uint8_t { Detecting, Relaying, Closed };

  struct Side final : Watcher {
    explicit Side(TcpRelay& owner) : relay(owner) {}
    void on_events(std::uint32_t events) override { relay.on_side_events(*this, events); }
    std::size_t held_bytes(bool counts_sockets) const {
      return out.size() + (pipe ? pipe->held : 0) + (counts_sockets ? socket.kernel_bytes() : 0);
    }

    TcpRelay& relay;
    Socket socket;
    ByteQueue out;               // waiting to be written to this side
    std::unique_ptr<Pipe> pipe;  // with what was read from this side and is not written yet
    std::uint64_t bytes_read = 0;
    unsigned full_reads = 0;  // in a row
    bool is_spliced = false;  // bulk data: what is read goes through a pipe
    bool is_connected = false;
    bool is_read_ended = false;  // it will send nothing more
    bool is_write_shut = false;  // we told it that nothing more comes
  };

  void on_side_events(Side& side, std::uint32_t events);
  void connect_upstream();
  void began_to_connect(Result<Socket> socket);
  void stop_waiting();
  bool is_refused() const;
  void refuse();
  void finish_refused();
  void on_app_socket(Fd socket) override;
  bool advance_connect();
  void on_connect_failed(int error);
  void pump(Side& from, Side& to);
  bool pump_copies(Side& from, Side& to);
  bool pump_pipe(Side& from, Side& to);
  void finish_reset(const Side& side);
  bool flush(Side& side);
  void pass_on_end(Side& from, Side& to);
  void detect();
  // ---- tcp_relay_names.cc
  enum class Named : std::uint8_t { Undecided, Decided, Ended };
  bool is_asking_for_name() const;
  Named look_for_name();
  void go_to(std::size_t upstream);
  void refuse_hello(std::string_view alert, Flag flag, std::string_view details);
  void become_http(bool is_http2);
  void note_detected(DetectedAs detected);
  void settle();
  void touch();
  void finish(Flag flag, std::string_view details);

  Worker& worker_;
  RelayFacts facts_;
  DownstreamContext context_;
  Side downstream_{*this};
  Side upstream_{*this};
  Mode mode_ = Mode::Relaying;
  bool is_connect_failed_ = false;
  bool is_awaiting_socket_ = false;
  bool is_by_name_ = false;  // only the name decides; nothing is connected yet
  bool is_alert_sent_ = false;
  bool is_rerouted_ = false;  // events of the first upstream socket may still come
};

}  // namespace pillion::proxy
