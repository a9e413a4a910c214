#include "adapters/logs/output/statsd_output.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr Duration kFullWait = std::chrono::milliseconds(2);  // the receiver's queue has no room
constexpr std::size_t kUnixBytes = 8u << 10;
constexpr std::size_t kUdpBytes = 1400;  // fits a frame

}  // namespace

StatsdOutput::StatsdOutput(Loop& loop, const config::LogOutput& output, StatsdLines lines,
                           OnDone on_done)
    : config_(*output.statsd),
      batch_(output.batch),
      retry_(output.retry),
      lines_(std::move(lines)),
      on_done_(std::move(on_done)),
      again_(loop) {}

std::string StatsdOutput::name() const {
  return "statsd " + (config_.socket ? *config_.socket : config_.udp->to_string());
}

std::size_t StatsdOutput::datagram_bytes() const { return config_.socket ? kUnixBytes : kUdpBytes; }

void StatsdOutput::deliver(Batch& batch) {
  Waiting waiting{&batch, {}};
  std::string lines;
  for (std::size_t i = 0; i < batch.records.record_count(); ++i) {
    lines.clear();
    lines_.append(batch.records.record(i), lines);
    if (lines.empty()) continue;
    auto& datagrams = waiting.datagrams;
    if (datagrams.empty() || datagrams.back().size() + lines.size() > datagram_bytes()) {
      datagrams.emplace_back();
    }
    datagrams.back() += lines;
  }
  waiting_.push_back(std::move(waiting));
  // Not before deliver() has returned.
  if (waiting_.size() == 1 && !again_.is_active())
    again_.start(Duration::zero(), [this] { send_waiting(); });
}

bool StatsdOutput::connect() {
  if (socket_.is_open()) return true;
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (config_.socket) {
    auto* const address = reinterpret_cast<sockaddr_un*>(&storage);
    address->sun_family = AF_UNIX;
    config_.socket->copy(address->sun_path, sizeof address->sun_path - 1);
    size = sizeof *address;
  } else if (config_.udp->ip.is_v6()) {
    auto* const address = reinterpret_cast<sockaddr_in6*>(&storage);
    address->sin6_family = AF_INET6;
    address->sin6_port = htons(config_.udp->port);
    std::memcpy(&address->sin6_addr, config_.udp->ip.bytes.data(), 16);
    size = sizeof *address;
  } else {
    auto* const address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(config_.udp->port);
    std::memcpy(&address->sin_addr, config_.udp->ip.bytes.data(), 4);
    size = sizeof *address;
  }
  Fd socket(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open() ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), size) < 0) {
    return false;
  }
  socket_ = std::move(socket);
  return true;
}

void StatsdOutput::send_waiting() {
  while (!waiting_.empty()) {
    Waiting& first = waiting_.front();
    while (!first.datagrams.empty()) {
      const bool is_connected = connect();
      const std::string& datagram = first.datagrams.front();
      const ssize_t count =
          is_connected ? ::send(socket_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) : -1;
      if (count < 0) {
        const int error = errno;
        if (is_connected && (error == EAGAIN || error == ENOBUFS)) return pause(kFullWait);
        // UDP says by ECONNREFUSED that the datagram before was lost; there is nothing to repeat.
        if (is_connected && !config_.socket && error == ECONNREFUSED) continue;
        socket_.reset();
        const std::string why = "cannot send: " + std::string(std::strerror(error));
        if (trouble_ != why) log::warn("{}: {}; trying again", name(), why);
        trouble_ = why;
        const auto wait = retry_.base * (1LL << std::min(attempt_++, 16u));
        return pause(std::min<Duration>(wait, retry_.max));
      }
      ++datagrams_;
      attempt_ = 0;
      trouble_.clear();
      first.datagrams.pop_front();
    }
    Batch& batch = *first.batch;
    waiting_.pop_front();
    on_done_(batch);
  }
}

void StatsdOutput::pause(Duration wait) {
  again_.start(wait, [this] { send_waiting(); });
}

std::vector<Output::Stat> StatsdOutput::stats() const {
  return {{"pillion_logs_statsd_datagrams_total", "Datagrams with samples, sent.", datagrams_}};
}

}  // namespace pillion::logs
