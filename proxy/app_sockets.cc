#include "proxy/app_sockets.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "runtime/socket_broker.h"

namespace pillion::proxy {
namespace {

static_assert(kNoAppSocket == ENONET);

constexpr std::size_t kStockLow = 64;   // ask for more below it
constexpr std::size_t kStockMax = 256;  // per family; what comes beyond it is closed
constexpr std::int64_t kAnswerDueNs = 50'000'000;
constexpr Milliseconds kAskAgain = 50;

}  // namespace

// ---- SocketStock --------------------------------------------------------------------------------

SocketStock::SocketStock(Fd channel) : channel_(std::move(channel)) {
  const std::lock_guard lock(mutex_);
  replenish(AF_INET);
}

SocketStock::Shelf& SocketStock::shelf_of(int family) {
  return shelves_[family == AF_INET6 ? 1 : 0];
}

Fd SocketStock::take(int family) {
  const std::lock_guard lock(mutex_);
  Shelf& shelf = shelf_of(family);
  if (shelf.sockets.size() < kStockLow) {
    receive_locked();
    replenish(family);
  }
  if (shelf.sockets.empty()) return {};
  Fd socket = std::move(shelf.sockets.back());
  shelf.sockets.pop_back();
  return socket;
}

void SocketStock::receive() {
  const std::lock_guard lock(mutex_);
  receive_locked();
}

void SocketStock::receive_locked() {
  while (auto batch = receive_sockets(channel_.get())) {
    Shelf& shelf = shelf_of(batch->family);
    shelf.batches_due = std::max(shelf.batches_due - 1, 0);
    for (Fd& socket : batch->sockets) {
      if (shelf.sockets.size() < kStockMax) shelf.sockets.push_back(std::move(socket));
    }
  }
}

// A request that was read and not answered died with its broker: it is due no longer.
void SocketStock::replenish(int family) {
  Shelf& shelf = shelf_of(family);
  const std::int64_t now = Reactor::precise_now_ns();
  const bool is_late = shelf.batches_due > 0 && now - shelf.asked_ns > kAnswerDueNs;
  if (is_late && !has_unread_request(channel_.get())) shelf.batches_due = 0;
  const auto coming = [&] {
    return shelf.sockets.size() + static_cast<std::size_t>(shelf.batches_due) * kSocketsPerBatch;
  };
  while (coming() < kStockLow && ask_for_sockets(channel_.get(), family)) {
    ++shelf.batches_due;
    shelf.asked_ns = now;
  }
}

// ---- AppSockets ---------------------------------------------------------------------------------

AppSockets::AppSockets(Reactor& reactor, SocketStock& stock) : reactor_(reactor), stock_(stock) {
  reactor_.add(stock_.channel(), *this);
}

// The keeper holds the channel too: its events would go on.
AppSockets::~AppSockets() { reactor_.remove(stock_.channel()); }

Fd AppSockets::take(int family) {
  if (!wishes_.empty()) return {};  // first come, first served
  return stock_.take(family);
}

void AppSockets::wait(Waiter& waiter, int family) {
  wishes_.push_back({&waiter, family});
  if (!is_armed()) reactor_.timers().arm(*this, reactor_.now() + kAskAgain);
}

void AppSockets::forget(Waiter& waiter) {
  std::erase_if(wishes_, [&](const Wish& wish) { return wish.waiter == &waiter; });
}

void AppSockets::on_events(std::uint32_t) {
  stock_.receive();
  serve();
}

void AppSockets::on_deadline(Milliseconds) {
  serve();
  if (!wishes_.empty()) reactor_.timers().arm(*this, reactor_.now() + kAskAgain);
}

// Who is served may wait again, or make others leave: the list is looked at anew each time.
void AppSockets::serve() {
  for (std::size_t left = wishes_.size(); left > 0 && !wishes_.empty(); --left) {
    const Wish wish = wishes_.front();
    Fd socket = stock_.take(wish.family);
    if (!socket) {
      // The other family may have some.
      wishes_.pop_front();
      wishes_.push_back(wish);
      continue;
    }
    wishes_.pop_front();
    wish.waiter->on_app_socket(std::move(socket));
  }
}

}  // namespace pillion::proxy
