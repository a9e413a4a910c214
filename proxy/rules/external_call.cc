#include "proxy/rules/external_call.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/worker.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;

constexpr std::size_t kAnswerBodyMax = 64 * 1024;

}  // namespace

ExternalCall::ExternalCall(Worker& worker, std::shared_ptr<Cluster> cluster, std::string request,
                           VerdictUser& user)
    : worker_(worker), cluster_(std::move(cluster)), user_(user), request_(std::move(request)) {}

ExternalCall::~ExternalCall() { release(false); }

// What fails at once is told by the deadline, so that nothing comes from inside this call.
void ExternalCall::begin(std::chrono::milliseconds timeout) {
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + timeout.count());
  attempt();
  if (is_failed_) worker_.reactor().timers().arm(*this, worker_.reactor().now());
}

void ExternalCall::attempt() {
  sent_ = 0;
  if (!cluster_->has_endpoints()) {
    is_failed_ = true;
    failure_ = "its name resolves to no address";
    return;
  }
  endpoint_ = cluster_->choose(worker_.random(), is_last_attempt_ ? endpoint_.get() : nullptr);
  if (!is_last_attempt_) {
    if (auto idle = endpoint_->take_idle(*this, true)) {
      upstream_ = std::move(idle);
      write();
      return;
    }
  }
  auto begun = endpoint_->connect(*this);
  if (!begun) {
    is_failed_ = true;
    failure_ = begun.error().message();
    return;
  }
  upstream_ = std::move(*begun);
}

void ExternalCall::release(bool is_reusable) {
  if (!upstream_) return;
  if (is_reusable) {
    endpoint_->put_idle(std::move(upstream_));
  } else {
    endpoint_->discard(std::move(upstream_));
  }
}

void ExternalCall::tell(const Verdict& verdict) {
  if (is_told_) return;
  is_told_ = true;
  worker_.reactor().timers().disarm(*this);
  user_.on_verdict(verdict);
}

void ExternalCall::fail_call(std::string reason) {
  release(false);
  Verdict verdict;
  verdict.failure = std::move(reason);
  tell(verdict);
}

void ExternalCall::finish(bool is_reusable) {
  release(is_reusable);
  Verdict verdict;
  verdict.is_answered = true;
  verdict.head = &head_;
  verdict.body = body_;
  tell(verdict);
}

void ExternalCall::on_deadline(Milliseconds) {
  fail_call(is_failed_ ? failure_ : "it did not answer in time");
}

// ---- Events of the connection -------------------------------------------------------------------

void ExternalCall::on_upstream_connected() { write(); }

void ExternalCall::on_upstream_connect_failed(int error) {
  fail_call(error == ETIMEDOUT ? "connecting timed out"
            : error == EPROTO  ? "the TLS handshake failed"
                               : std::strerror(error));
}

void ExternalCall::on_upstream_ready() {
  if (!upstream_) return;
  if (sent_ < request_.size() && upstream_->socket().is_writable()) write();
  if (upstream_) read();
}

// The question changes nothing on the other side, so it may be asked twice.
bool ExternalCall::retry() {
  if (is_last_attempt_ || has_head_ || !answer_head_.empty() || !upstream_->was_reused()) {
    return false;
  }
  is_last_attempt_ = true;
  release(false);
  attempt();
  if (is_failed_) fail_call(failure_);
  return true;
}

void ExternalCall::write() {
  const IoResult result =
      upstream_->socket().write(request_.data() + sent_, request_.size() - sent_);
  if (result.status == IoStatus::Failed) {
    // It may have answered before it closed.
    upstream_->socket().note_readable();
    sent_ = request_.size();
    return;
  }
  sent_ += result.bytes;
}

void ExternalCall::read() {
  while (upstream_->socket().is_readable()) {
    const auto buffer = worker_.buffers().read_buffer();
    const IoResult result = upstream_->socket().read(buffer.data(), buffer.size());
    if (result.status == IoStatus::WouldBlock) return;
    if (result.status == IoStatus::Ok) {
      if (!take({buffer.data(), result.bytes})) return;
      continue;
    }
    if (result.status == IoStatus::Eof && has_head_ && framing_.kind == BodyKind::UntilClose) {
      finish(false);
      return;
    }
    if (!retry()) fail_call("it closed the connection before its answer was complete");
    return;
  }
}

bool ExternalCall::take(std::string_view bytes) {
  if (has_head_) return take_body(bytes);
  answer_head_.append(bytes);
  std::string_view rest = answer_head_;
  while (true) {
    const auto result = http1::parse_response(rest, progress_, {}, head_);
    if (result.status == http1::ParseStatus::NeedMore) {
      if (rest.size() < answer_head_.size()) {
        answer_head_.erase(0, answer_head_.size() - rest.size());
      }
      return true;
    }
    progress_ = {};
    if (result.status == http1::ParseStatus::Failed || head_.status == 101) {
      fail_call("its answer is malformed");
      return false;
    }
    rest.remove_prefix(result.head_bytes);
    if (!head_.is_informational()) break;
  }
  const auto framing = http1::response_framing(head_, false);
  if (!framing.is_ok()) {
    fail_call("its answer is ambiguous");
    return false;
  }
  has_head_ = true;
  framing_ = framing.framing;
  remaining_ = framing_.length;
  return take_body(rest);
}

bool ExternalCall::take_body(std::string_view bytes) {
  using Event = http1::ChunkedDecoder::Event;
  bool is_done = framing_.kind == BodyKind::None;
  std::size_t used = 0;
  if (framing_.kind == BodyKind::Chunked) {
    auto step = chunks_.next(bytes);
    while (step.event == Event::Data && body_.size() <= kAnswerBodyMax) {
      body_.append(step.data);
      used += step.consumed;
      step = chunks_.next(bytes.substr(used));
    }
    used += step.consumed;
    is_done = step.event == Event::Done;
    if (step.event == Event::Failed) {
      fail_call("its answer is malformed");
      return false;
    }
  } else if (!is_done) {
    used = bytes.size();
    if (framing_.kind == BodyKind::Length) {
      used = static_cast<std::size_t>(std::min<std::uint64_t>(used, remaining_));
      remaining_ -= used;
      is_done = remaining_ == 0;
    }
    body_.append(bytes.substr(0, used));
  }
  if (body_.size() > kAnswerBodyMax) {
    fail_call("its answer is larger than 64 KiB");
    return false;
  }
  if (!is_done) return true;
  finish(used == bytes.size() && sent_ == request_.size() &&
         framing_.kind != BodyKind::UntilClose &&
         http1::wants_keep_alive(head_.fields, head_.version));
  return false;
}

}  // namespace pillion::proxy
