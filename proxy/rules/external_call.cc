#include "proxy/rules/external_call.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "proxy/worker.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;

constexpr std::size_t kAnswerBodyMax = 64 * 1024;
constexpr const char* kAnswerTooLarge = "its answer is larger than 64 KiB";
constexpr const char* kAnswerIncomplete = "it closed the connection before its answer was complete";
constexpr std::size_t kBodyPiece = 16 * 1024;

}  // namespace

ExternalCall::ExternalCall(Worker& worker, std::shared_ptr<Cluster> cluster, Question question,
                           VerdictUser& user)
    : worker_(worker), cluster_(std::move(cluster)), user_(user), question_(std::move(question)) {}

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
  if (cluster_->uses_http2()) {
    attempt_http2();
  } else {
    attempt_http1();
  }
}

void ExternalCall::attempt_http1() {
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

void ExternalCall::attempt_http2() {
  Http2Upstream* connection = endpoint_->find_http2();
  was_stream_reused_ = connection != nullptr && connection->was_used();
  if (connection == nullptr) {
    auto made = endpoint_->connect_http2(worker_.buffers());
    if (!made) {
      is_failed_ = true;
      failure_ = made.error().message();
      return;
    }
    connection = *made;
  }
  question_.http2.is_complete = question_.bytes.empty();
  Http2Requester& self = *this;
  stream_ = connection->request(self, question_.http2);
  if (stream_ == nullptr) {
    is_failed_ = true;
    failure_ = "its connection takes no more streams";
    return;
  }
  send_body();
}

void ExternalCall::release(bool is_reusable) {
  if (Http2UpstreamStream* stream = std::exchange(stream_, nullptr)) {
    if (is_reusable) {
      stream->let_go();
    } else {
      stream->abandon();
    }
  }
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
  if (sent_ < question_.bytes.size() && upstream_->socket().is_writable()) write();
  if (upstream_) read();
}

// ---- HTTP/2 -------------------------------------------------------------------------------------

// As much of the body as the stream takes; on_http2_room() asks for the rest.
void ExternalCall::send_body() {
  while (stream_ != nullptr && sent_ < question_.bytes.size() && stream_->has_room()) {
    const std::string_view piece = std::string_view(question_.bytes).substr(sent_, kBodyPiece);
    sent_ += piece.size();
    BodyParts body;
    body.add_data(piece);
    body.is_done = sent_ == question_.bytes.size();
    stream_->send(body, {});
  }
}

void ExternalCall::on_http2_head(Http2HeadReader& reader, bool is_end) {
  if (reader.is_informational()) return;
  answer_head_.assign(reader.finish_response());
  const http1::Limits limits{65535, http1::kFieldsMax};
  const auto result = http1::parse_response(answer_head_, progress_, limits, head_);
  if (result.status != http1::ParseStatus::Done) {
    fail_call("its answer is malformed");
    return;
  }
  has_head_ = true;
  if (is_end) finish(true);
}

void ExternalCall::on_http2_data(std::string_view data) {
  if (body_.size() + data.size() > kAnswerBodyMax) {
    fail_call(kAnswerTooLarge);
    return;
  }
  body_.append(data);
}

void ExternalCall::on_http2_end(std::string_view) {
  if (has_head_) finish(true);
}

void ExternalCall::on_http2_failed(const Http2Failure& failure) {
  using Kind = Http2Failure::Kind;
  stream_ = nullptr;
  const bool is_stale =
      failure.kind == Kind::Unseen || (failure.kind == Kind::Closed && was_stream_reused_);
  if (is_stale && !has_head_ && !is_last_attempt_) return ask_again();
  switch (failure.kind) {
    case Kind::Connect:
      if (failure.tls_failure.empty()) return on_upstream_connect_failed(failure.error);
      return fail_call("the TLS handshake failed: " + failure.tls_failure);
    case Kind::Malformed: return fail_call("its answer is malformed");
    case Kind::Reset: return fail_call("it reset the stream");
    case Kind::Unseen:
    case Kind::Closed:
    case Kind::NoConnect: break;
  }
  fail_call(kAnswerIncomplete);
}

// ---- HTTP/1 -------------------------------------------------------------------------------------

// The question changes nothing on the other side, so it may be asked twice.
bool ExternalCall::retry() {
  if (is_last_attempt_ || has_head_ || !answer_head_.empty() || !upstream_->was_reused()) {
    return false;
  }
  ask_again();
  return true;
}

void ExternalCall::ask_again() {
  is_last_attempt_ = true;
  release(false);
  attempt();
  if (is_failed_) fail_call(failure_);
}

void ExternalCall::write() {
  const IoResult result =
      upstream_->socket().write(question_.bytes.data() + sent_, question_.bytes.size() - sent_);
  if (result.status == IoStatus::Failed) {
    // It may have answered before it closed.
    upstream_->socket().note_readable();
    sent_ = question_.bytes.size();
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
    if (!retry()) fail_call(kAnswerIncomplete);
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
    fail_call(kAnswerTooLarge);
    return false;
  }
  if (!is_done) return true;
  finish(used == bytes.size() && sent_ == question_.bytes.size() &&
         framing_.kind != BodyKind::UntilClose &&
         http1::wants_keep_alive(head_.fields, head_.version));
  return false;
}

}  // namespace pillion::proxy
