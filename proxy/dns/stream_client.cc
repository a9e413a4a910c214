#include "proxy/dns/stream_client.h"

#include <sys/socket.h>

#include <cerrno>

#include "proxy/dns/message.h"

namespace pillion::proxy::dns {
namespace {

constexpr std::chrono::seconds kIdle{10};
constexpr std::size_t kQueryMax = 4096;
constexpr std::size_t kUnsentMax = 256 * 1024;

}  // namespace

StreamClient::StreamClient(Loop& loop, Fd fd, std::function<void(std::string)> on_query,
                           std::function<void()> on_end)
    : fd_(std::move(fd)),
      on_query_(std::move(on_query)),
      on_end_(std::move(on_end)),
      idle_(loop),
      poll_(loop, fd_.get()) {
  idle_.start(kIdle, on_end_);
  poll_.start(kReadable, [this](int events, int) { on_event(events); });
}

void StreamClient::on_event(int events) {
  bool is_well = true;
  if ((events & kWritable) != 0) is_well = flush();
  if (is_well && (events & kReadable) != 0) is_well = receive();
  if (!is_well || events == 0) on_end_();
}

bool StreamClient::receive() {
  char buffer[4096];
  const ssize_t count = ::recv(fd_.get(), buffer, sizeof buffer, 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  idle_.start(kIdle, on_end_);
  received_.append(buffer, static_cast<std::size_t>(count));
  while (received_.size() >= 2) {
    const std::size_t wanted = id_of(received_);  // the length comes first, in the same form
    if (wanted > kQueryMax) return false;
    if (received_.size() < 2 + wanted) break;
    std::string query = received_.substr(2, wanted);
    received_.erase(0, 2 + wanted);
    on_query_(std::move(query));
  }
  return true;
}

bool StreamClient::send(std::string_view answer) {
  to_send_ += static_cast<char>(answer.size() >> 8);
  to_send_ += static_cast<char>(answer.size() & 0xff);
  to_send_ += answer;
  return to_send_.size() <= kUnsentMax && flush();
}

bool StreamClient::flush() {
  const ssize_t count = ::send(fd_.get(), to_send_.data(), to_send_.size(), MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
  if (count > 0) to_send_.erase(0, static_cast<std::size_t>(count));
  poll_.set_events(to_send_.empty() ? kReadable : kReadable | kWritable);
  return true;
}

}  // namespace pillion::proxy::dns
