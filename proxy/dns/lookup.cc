#include "proxy/dns/lookup.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace pillion::proxy::dns {
namespace {

constexpr std::size_t kMessageMax = 65'535;

bool is_final(Rcode rcode) { return rcode == Rcode::NoError || rcode == Rcode::NameError; }

}  // namespace

Lookup::Lookup(Loop& loop, RandomSource& random, std::vector<Address> servers, Duration try_timeout,
               std::string packet, Query query, OnDone on_done)
    : loop_(loop),
      random_(random),
      servers_(std::move(servers)),
      try_timeout_(try_timeout),
      packet_(std::move(packet)),
      query_(std::move(query)),
      on_done_(std::move(on_done)),
      timer_(loop) {}

void Lookup::begin_try(bool is_tcp) {
  is_tcp_ = is_tcp;
  while (tries_ < kRounds * servers_.size()) {
    if (open(is_tcp_)) {
      timer_.start(try_timeout_, [this] { fail_try(); });
      return;
    }
    ++tries_;
    is_tcp_ = false;
  }
  finish(std::move(last_refusal_));
}

bool Lookup::open(bool is_tcp) {
  const Address& server = servers_[tries_ % servers_.size()];
  poll_.reset();
  const int type = (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  socket_ = Fd(::socket(server.is_v6() ? AF_INET6 : AF_INET, type, 0));
  if (!socket_) return false;
  if (::connect(socket_.get(), server.data(), server.size()) < 0 && errno != EINPROGRESS) {
    return false;
  }
  id_ = static_cast<std::uint16_t>(random_.next_u64());
  set_id(packet_, id_);
  received_.clear();
  to_send_.clear();
  if (is_tcp) {
    to_send_ += static_cast<char>(packet_.size() >> 8);
    to_send_ += static_cast<char>(packet_.size() & 0xff);
    to_send_ += packet_;
  } else if (::send(socket_.get(), packet_.data(), packet_.size(), MSG_NOSIGNAL) < 0) {
    return false;
  }
  poll_ = std::make_unique<Poll>(loop_, socket_.get());
  poll_->start(is_tcp ? kReadable | kWritable : kReadable, [this](int, int) { on_event(); });
  return true;
}

void Lookup::on_event() {
  if (is_tcp_) {
    exchange_stream();
  } else {
    receive_datagram();
  }
}

void Lookup::receive_datagram() {
  received_.resize(kMessageMax);
  const ssize_t count = ::recv(socket_.get(), received_.data(), received_.size(), 0);
  if (count < 0) {
    // Connected: "port unreachable" comes as an error of the socket.
    if (errno != EAGAIN && errno != EINTR) fail_try();
    return;
  }
  received_.resize(static_cast<std::size_t>(count));
  // Somebody may be guessing: what does not fit is not there, and the true answer may still come.
  if (is_answer_to(received_, query_, id_)) take(std::move(received_));
}

bool Lookup::send_stream() {
  const ssize_t count = ::send(socket_.get(), to_send_.data(), to_send_.size(), MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  to_send_.erase(0, static_cast<std::size_t>(count));
  if (to_send_.empty()) poll_->set_events(kReadable);
  return true;
}

void Lookup::exchange_stream() {
  if (!to_send_.empty() && !send_stream()) return fail_try();
  char buffer[16 * 1024];
  const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) fail_try();
    return;
  }
  if (count == 0) return fail_try();
  received_.append(buffer, static_cast<std::size_t>(count));
  if (received_.size() < 2) return;
  const std::size_t wanted = id_of(received_);  // the length comes first, in the same form
  if (received_.size() < 2 + wanted) return;
  std::string answer = received_.substr(2, wanted);
  if (!is_answer_to(answer, query_, id_)) return fail_try();
  take(std::move(answer));
}

void Lookup::take(std::string answer) {
  if (is_truncated(answer) && !is_tcp_) {
    last_refusal_ = std::move(answer);
    return begin_try(true);
  }
  if (is_final(rcode_of(answer))) return finish(std::move(answer));
  last_refusal_ = std::move(answer);
  fail_try();
}

void Lookup::fail_try() {
  ++tries_;
  begin_try(false);
}

void Lookup::finish(std::string answer) {
  timer_.stop();
  poll_.reset();
  socket_.reset();
  const OnDone on_done = std::exchange(on_done_, nullptr);
  on_done(std::move(answer));
}

}  // namespace pillion::proxy::dns
