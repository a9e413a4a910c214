// Forwards the datagrams of one listening socket. Each client, by its address and the one of ours
// that it talks to, has a session: a socket of its own towards the app or the upstream, so that
// answers find their way back. A session ends when nothing came either way for a while, or when the
// other side is not there. What cannot be sent at once is dropped, as datagrams may be.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "proxy/address.h"
#include "proxy/listener.h"
#include "proxy/reactor.h"
#include "proxy/stats.h"
#include "proxy/udp/batch.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::proxy {
class Cluster;
class Worker;
}  // namespace pillion::proxy

namespace pillion::proxy::udp {

class Forwarder final : public Watcher {
 public:
  // The socket is the server's and must outlive this.
  Forwarder(Worker& worker, int fd, ListenerInfo info);
  ~Forwarder() override;

  Result<void> begin();
  const ListenerInfo& info() const { return info_; }
  // Stops listening. Clients whose last datagram has no answer yet may still hear it, for a second;
  // the other sessions end. Who holds the socket, too, finds what comes from now on in its queue.
  void leave();
  // Sessions whose last datagram was the client's, after leave().
  std::size_t count_awaiting() const;
  // Stops listening; the sessions end.
  void close();
  // The app may have moved: sessions to where it was end, in the same way as by leave().
  void follow_app();

  void on_events(std::uint32_t events) override;

 private:
  class Session;
  struct Key {
    Address client;
    Address local;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return key.client.hash() * 31 + key.local.hash();
    }
  };

  void forward(std::size_t count);
  void send_on(Session& session, std::size_t first, std::size_t count);
  void answer(Session& session);
  void touch(Session& session);
  Session* session_of(const Peer& peer);
  Session* open_session(const Key& key, const Peer& peer);
  bool is_own_address(const Address& to) const;
  void end(Session& session, Flag flag, std::string_view details);
  void record(const Session& session, Flag flag, std::string_view details);

  Worker& worker_;
  const int fd_;
  const ListenerInfo info_;
  const Address own_;
  bool is_open_ = false;
  std::unordered_map<Key, std::unique_ptr<Session>, KeyHash> sessions_;
};

}  // namespace pillion::proxy::udp
