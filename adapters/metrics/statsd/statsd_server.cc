#include "adapters/metrics/statsd/statsd_server.h"

#include <linux/sock_diag.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runtime/log.h"

namespace pillion::metrics {
namespace {

constexpr std::size_t kBatch = 64;               // datagrams of one system call
constexpr std::size_t kDatagramMax = 64u << 10;  // no UDP datagram is longer
constexpr int kRounds = 16;                      // of reading before others get their turn
constexpr std::size_t kLineMax = StatsdStore::kLineBytesMax;

Result<Fd> bind_datagrams(const std::string& path, unsigned mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(path + " is too long for a Unix socket");
  }
  path.copy(address.sun_path, path.size());
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return fail_errno("cannot make a Unix socket");
  struct stat facts;
  if (::lstat(path.c_str(), &facts) == 0 && S_ISSOCK(facts.st_mode)) ::unlink(path.c_str());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("cannot bind " + path);
  }
  if (::chmod(path.c_str(), mode) < 0) return fail_errno("cannot set the mode of " + path);
  return socket;
}

void set_receive_buffer(const Fd& socket, std::uint64_t bytes) {
  if (!socket.is_open()) return;
  const int size = static_cast<int>(std::min<std::uint64_t>(bytes, 1u << 30));
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
}

}  // namespace

// Room for a batch of datagrams. Mapped, so that only pages that were written count.
class StatsdServer::Buffers {
 public:
  Buffers() {
    void* const memory = ::mmap(nullptr, kBatch * kDatagramMax, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    PILLION_ASSERT(memory != MAP_FAILED);
    bytes_ = static_cast<char*>(memory);
    for (std::size_t i = 0; i < kBatch; ++i) {
      pieces_[i] = {bytes_ + i * kDatagramMax, kDatagramMax};
      messages_[i] = {};
      messages_[i].msg_hdr.msg_iov = &pieces_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  ~Buffers() { ::munmap(bytes_, kBatch * kDatagramMax); }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  int receive(int socket) {
    return ::recvmmsg(socket, messages_.data(), kBatch, MSG_DONTWAIT, nullptr);
  }
  std::string_view datagram(int i) const {
    const auto at = static_cast<std::size_t>(i);
    return {bytes_ + at * kDatagramMax, messages_[at].msg_len};
  }

 private:
  char* bytes_ = nullptr;
  std::array<iovec, kBatch> pieces_;
  std::array<mmsghdr, kBatch> messages_;
};

// One TCP client: lines, each ended by a line feed.
class StatsdServer::Connection {
 public:
  Connection(StatsdServer& server, Fd socket)
      : server_(server), socket_(std::move(socket)), poll_(server.loop_, socket_.get()) {
    poll_.start(kReadable, [this](int, int) {
      if (!read()) end();
    });
  }

  // False when the client has ended.
  bool read() {
    char bytes[16u << 10];
    const ssize_t count = ::read(socket_.get(), bytes, sizeof bytes);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    take({bytes, static_cast<std::size_t>(count)});
    return count > 0;
  }

 private:
  void take(std::string_view bytes) {
    const auto last = bytes.rfind('\n');
    const bool is_end = bytes.empty();
    if (last == std::string_view::npos && !is_end) {
      if (rest_.size() + bytes.size() > kLineMax) {
        ++server_.counts_.truncated;
        is_skipping_ = true;
        rest_.clear();
      } else if (!is_skipping_) {
        rest_ += bytes;
      }
      return;
    }
    if (is_skipping_) {  // the rest of a line that was too long
      const auto first = std::min(bytes.find('\n'), bytes.size());
      bytes.remove_prefix(std::min(first + 1, bytes.size()));
      is_skipping_ = false;
      take(bytes.empty() ? std::string_view("\n") : bytes);
      return;
    }
    const auto whole = is_end ? 0 : last + 1;
    rest_ += bytes.substr(0, whole);
    if (server_.store_ != nullptr) server_.store_->take(rest_, server_.time());
    rest_.assign(bytes.substr(whole));
  }

  void end() {
    auto& all = server_.connections_;
    const auto me = std::find_if(all.begin(), all.end(),
                                 [this](const auto& other) { return other.get() == this; });
    if (me == all.end()) return;
    std::unique_ptr<Connection> self = std::move(*me);
    all.erase(me);
    server_.loop_.defer_delete(std::move(self));
  }

  StatsdServer& server_;
  Fd socket_;
  std::string rest_;  // a line that has not ended
  bool is_skipping_ = false;
  Poll poll_;
};

Result<StatsdServer::Sockets> StatsdServer::open(const config::StatsdInput& config,
                                                 std::size_t input, InheritedListeners& listeners,
                                                 Sockets sockets) {
  const std::string number = std::to_string(input);
  const auto use = [](Fd& place, Result<Fd> made) -> Result<void> {
    if (!made) return fail(made.error());
    place = std::move(*made);
    return {};
  };
  Result<void> done;
  if (config.udp && !sockets.udp.is_open()) {
    auto inherited = listeners.take("statsd-" + number);
    done = inherited ? use(sockets.udp, std::move(*inherited))
                     : use(sockets.udp, bind_udp(config.udp->ip.to_string(), config.udp->port));
  }
  if (done && config.tcp && !sockets.tcp.is_open()) {
    auto inherited = listeners.take("statsd-tcp-" + number);
    done = inherited ? use(sockets.tcp, std::move(*inherited))
                     : use(sockets.tcp, listen_tcp(config.tcp->ip.to_string(), config.tcp->port));
  }
  if (done && config.socket && !sockets.datagrams.is_open()) {
    done = use(sockets.datagrams, bind_datagrams(*config.socket, config.socket_mode.value));
  }
  if (!done) return fail(done.error());
  set_receive_buffer(sockets.udp, config.receive_buffer.value);
  set_receive_buffer(sockets.datagrams, config.receive_buffer.value);
  return sockets;
}

StatsdServer::StatsdServer(Loop& loop, const Clock& clock, Sockets sockets, std::string socket_path)
    : loop_(loop),
      clock_(clock),
      sockets_(std::move(sockets)),
      socket_path_(std::move(socket_path)),
      buffers_(std::make_unique<Buffers>()) {
  watch(sockets_.udp);
  watch(sockets_.datagrams);
  if (!sockets_.tcp.is_open()) return;
  polls_.emplace_back(loop_, sockets_.tcp.get());
  polls_.back().start(kReadable, [this](int, int) { accept_connections(); });
}

StatsdServer::~StatsdServer() {
  if (sockets_.datagrams.is_open() && !socket_path_.empty()) ::unlink(socket_path_.c_str());
}

void StatsdServer::feed(StatsdStore* store) { store_ = store; }

void StatsdServer::watch(const Fd& socket) {
  if (!socket.is_open()) return;
  polls_.emplace_back(loop_, socket.get());
  polls_.back().start(kReadable, [this, fd = socket.get()](int, int) {
    for (int round = 0; round < kRounds; ++round) {
      if (!read_datagrams(fd)) break;
    }
  });
}

// False when there was less than a batch.
bool StatsdServer::read_datagrams(int socket) {
  const int count = buffers_->receive(socket);
  if (count <= 0) return false;
  counts_.datagrams += static_cast<std::uint64_t>(count);
  if (store_ != nullptr) {
    const StatsdStore::Time now = time();
    for (int i = 0; i < count; ++i) store_->take(buffers_->datagram(i), now);
  }
  return count == static_cast<int>(kBatch);
}

void StatsdServer::read_rest() {
  for (const Fd* const socket : {&sockets_.udp, &sockets_.datagrams}) {
    if (!socket->is_open()) continue;
    for (int round = 0; round < 4096 && read_datagrams(socket->get()); ++round) {
    }
  }
}

void StatsdServer::accept_connections() {
  for (int i = 0; i < kRounds; ++i) {
    Fd socket(::accept4(sockets_.tcp.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.is_open()) return;
    if (connections_.size() == kConnectionsMax) {
      if (counts_.refused++ == 0) log::warn("statsd: more than {} TCP clients", kConnectionsMax);
      continue;
    }
    ++counts_.connections;
    connections_.push_back(std::make_unique<Connection>(*this, std::move(socket)));
  }
}

std::uint64_t StatsdServer::lost() const {
  std::uint64_t lost = 0;
  for (const Fd* const socket : {&sockets_.udp, &sockets_.datagrams}) {
    std::uint32_t facts[SK_MEMINFO_VARS] = {};
    socklen_t size = sizeof facts;
    const bool is_known =
        socket->is_open() && ::getsockopt(socket->get(), SOL_SOCKET, SO_MEMINFO, facts, &size) == 0;
    if (is_known && size > SK_MEMINFO_DROPS * sizeof(std::uint32_t))
      lost += facts[SK_MEMINFO_DROPS];
  }
  return lost;
}

StatsdStore::Time StatsdServer::time() const {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return {duration_cast<milliseconds>(clock_.now().time_since_epoch()).count(),
          duration_cast<milliseconds>(clock_.wall_now().time_since_epoch()).count()};
}

}  // namespace pillion::metrics
