// Sockets towards an app in a sealed namespace, which this process is not in: fresh ones come in
// batches from pillion-broker (runtime/socket_broker.h). A stock of them is kept ahead of need, so
// a connection waits only while the broker is being restarted, and never longer than its own
// connect timeout.
#pragma once

#include <array>
#include <deque>
#include <mutex>
#include <vector>

#include "proxy/reactor.h"
#include "runtime/fd.h"

namespace pillion::proxy {

// What a connection attempt fails with when no socket came in time.
inline constexpr int kNoAppSocket = 64;  // ENONET
inline constexpr char kNoAppSocketReason[] =
    "no socket into the app's sealed network: its socket broker does not answer";

// The process's stock, shared by the workers. Thread-safe; nothing blocks.
class SocketStock {
 public:
  explicit SocketStock(Fd channel);

  int channel() const { return channel_.get(); }
  // An unconnected, non-blocking TCP socket of the app's namespace; empty when none is in stock.
  // Asks for more in time.
  Fd take(int family);
  // Takes in what the broker has sent.
  void receive();

 private:
  struct Shelf {
    std::vector<Fd> sockets;
    int batches_due = 0;
    std::int64_t asked_ns = 0;
  };

  Shelf& shelf_of(int family);
  void receive_locked();
  void replenish(int family);

  const Fd channel_;
  std::mutex mutex_;
  std::array<Shelf, 2> shelves_;  // IPv4, IPv6
};

// A worker's access to the stock, with those who wait for a socket.
class AppSockets final : public Watcher, public Deadline {
 public:
  class Waiter {
   public:
    // Once, from the reactor, never within wait().
    virtual void on_app_socket(Fd socket) = 0;

   protected:
    ~Waiter() = default;
  };

  AppSockets(Reactor& reactor, SocketStock& stock);
  ~AppSockets() override;

  Fd take(int family);
  // Who waits has a deadline of its own and leaves by forget().
  void wait(Waiter& waiter, int family);
  void forget(Waiter& waiter);

  void on_events(std::uint32_t events) override;
  void on_deadline(Milliseconds now) override;  // asks again, should the broker have died

 private:
  struct Wish {
    Waiter* waiter;
    int family;
  };

  void serve();

  Reactor& reactor_;
  SocketStock& stock_;
  std::deque<Wish> wishes_;  // oldest first
};

}  // namespace pillion::proxy
