// What the rules decide about a request, and how it is held while they need its body or an external
// check's answer. See exchange.h and rules/.
#include <algorithm>

#include "proxy/exchange.h"
#include "proxy/forwarded.h"
#include "proxy/worker.h"
#include "runtime/http1/head_writer.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;
using http1::Field;
using http1::FieldId;
using http1::RequestHead;

// What of a check's refusal the client gets to see beside the body.
constexpr std::string_view kRefusalFields[] = {"content-type", "www-authenticate", "location",
                                               "set-cookie",   "retry-after",      "cache-control"};

// A held body up to this goes upstream in one write with its head.
constexpr std::size_t kCopiedBytesMax = 16 * 1024;

bool has_content(const http1::Framing& framing) {
  return framing.kind == BodyKind::Chunked ||
         (framing.kind == BodyKind::Length && framing.length > 0);
}

bool is_name_of(std::string_view name, std::string_view other) {
  return name.size() == other.size() &&
         std::equal(name.begin(), name.end(), other.begin(), [](char a, char b) {
           const bool is_letter = (a | 0x20) >= 'a' && (a | 0x20) <= 'z';
           return a == b || (is_letter && (a | 0x20) == (b | 0x20));
         });
}

std::string_view value_of(const http1::Fields& fields, std::string_view lower) {
  const Field* field = fields.find(lower);
  return field == nullptr ? std::string_view() : fields.value(*field);
}

RuleQuestion question_of(const DownstreamContext& context, const RequestHead& head) {
  RuleQuestion question;
  question.direction = context.direction;
  question.app_port =
      context.direction == Direction::Inbound ? context.destination.port() : std::uint16_t{0};
  question.peer = context.peer_uri();
  question.method = head.method;
  question.authority = head.authority;
  question.path = head.path;
  question.content_type = head.fields.find(FieldId::ContentType);
  question.content_encoding = value_of(head.fields, "content-encoding");
  return question;
}

// The first name that is no pattern.
std::string_view host_of(const config::Upstream& upstream) {
  for (const std::string& host : upstream.hosts) {
    if (!host.starts_with('*')) return host;
  }
  return upstream.name;
}

// The request as a check sees it: every field that travels, and who asks. `write(name, value)`.
template<typename Write>
void write_question(const DownstreamContext& context, const RequestHead& head,
                    std::string_view request_id, Write&& write) {
  for (const Field& field : head.fields.all()) {
    const std::string_view name = head.fields.name(field);
    const bool is_ours = field.id == FieldId::Host || field.id == FieldId::Expect ||
                         field.id == FieldId::RequestId || field.id == FieldId::Forwarded ||
                         http1::starts_with_ignoring_case(name, "x-original-");
    const bool is_of_hop = field.id == FieldId::Connection || field.id == FieldId::KeepAlive ||
                           field.id == FieldId::ProxyConnection || field.id == FieldId::Te ||
                           field.id == FieldId::Trailer || field.id == FieldId::Upgrade ||
                           field.id == FieldId::TransferEncoding ||
                           field.id == FieldId::ContentLength;
    if (!is_ours && !is_of_hop) write(name, head.fields.value(field));
  }
  write("X-Request-ID", request_id);
  write("X-Original-Method", head.method);
  write("X-Original-Host", head.authority);
  write("X-Original-URI", head.path);
  const std::string peer = context.peer.to_string();
  write("X-Forwarded-For", client_ip(peer));
  write("X-Forwarded-Proto", context.identity ? std::string_view("https") : "http");
  if (!context.client_certificate().empty()) {
    write("X-Forwarded-Client-Cert", context.client_certificate());
  }
}

Question make_question(const config::ExternalCheck& check, const Cluster& cluster,
                       const DownstreamContext& context, const RequestHead& head,
                       std::string_view request_id, std::string_view body) {
  const config::Upstream& upstream = cluster.config();
  Question question;
  if (!cluster.uses_http2()) {
    http1::HeadWriter writer(question.bytes);
    writer.request_line("POST", check.path);
    writer.field("Host", host_of(upstream));
    write_question(context, head, request_id, [&](std::string_view name, std::string_view value) {
      writer.field(name, value);
    });
    writer.content_length(body.size());
    writer.end();
  } else {
    Http2Fields& fields = question.http2.fields;
    fields.add_lower(":method", "POST");
    fields.add_lower(":scheme", upstream.tls ? "https" : "http");
    fields.add_lower(":authority", host_of(upstream));
    fields.add_lower(":path", check.path);
    write_question(context, head, request_id,
                   [&](std::string_view name, std::string_view value) { fields.add(name, value); });
    fields.add_number("content-length", body.size());
  }
  question.bytes.append(body);
  return question;
}

}  // namespace

void Inspection::keep(const RequestHead& original) {
  const char* base = original.fields.base();
  std::size_t end = static_cast<std::size_t>(original.target.data() - base) +
                    original.target.size() + sizeof " HTTP/1.1";
  for (const Field& field : original.fields.all()) {
    end = std::max(end, std::size_t{field.value_begin} + field.value_size + 2);
  }
  head_bytes.assign(base, end);
  head = original;
  head.rebase(head_bytes.data());
}

// False after it answered.
bool Exchange::consult_rules(RequestHead& head) {
  inspection_ = std::make_unique<Inspection>();
  Inspection& inspection = *inspection_;
  if (head.fields.count(FieldId::ContentType) > 1) {
    reject(400, Flag::DownstreamProtocolError, "Content-Type occurs twice, and rules depend on it");
    return false;
  }
  inspection.has_body = !has_content(request_framing_);
  const RuleSet& rules = *context_->routes->snapshot->rules();
  const auto body = inspection.has_body ? std::optional<std::string_view>("") : std::nullopt;
  const RuleStep step = rules.advance(question_of(*context_, head), body, inspection.walk);
  if (step.kind == RuleStep::Kind::NeedsBody || step.kind == RuleStep::Kind::NeedsCheck) {
    inspection.keep(head);
  }
  return follow(step, inspection.head);
}

// What a step asks for, up to the next one. False after it answered.
bool Exchange::follow(const RuleStep& step, const RequestHead& head) {
  Inspection& inspection = *inspection_;
  switch (step.kind) {
    case RuleStep::Kind::Pass: inspection.state = Inspection::State::Passing; return true;
    case RuleStep::Kind::Refuse: deny(step.status, "denied_by_rule", step.reason); return false;
    case RuleStep::Kind::NeedsCheck: {
      inspection.rule = step.rule;
      inspection.state = Inspection::State::Checking;
      return ask_check(*step.rule->check, head);
    }
    case RuleStep::Kind::NeedsBody: break;
  }
  if (request_framing_.kind == BodyKind::Length &&
      request_framing_.length > config().limits.inspected_body_size.value) {
    reject(413, Flag::LimitExceeded, "the request body is larger than what is inspected");
    return false;
  }
  inspection.state = Inspection::State::Gathering;
  if (!is_http10_ && head.fields.has_list_element(FieldId::Expect, "100-continue")) {
    inspection.was_invited = true;
    http1::ResponseHead invitation;
    invitation.status = 100;
    invitation.reason = "Continue";
    downstream_->send_informational(invitation);
  }
  return true;
}

// A request without content that is refused leaves the connection as it was.
void Exchange::deny(int status, std::string_view details, std::string_view reason) {
  const Flag flag = status == 503 ? Flag::UpstreamConnectFailure : Flag::Refused;
  is_request_complete_ |= !has_content(request_framing_);
  if (inspection_) inspection_->state = Inspection::State::Passing;
  reply_locally(status, flag, details, reason);
}

// What the rules write anew must not come from the client, too.
void Exchange::remove_ruled_fields(RequestHead& head) const {
  for (Field& field : head.fields.all()) {
    field.is_removed |= inspection_->was_invited && field.id == FieldId::Expect;
    for (const auto& [name, value] : inspection_->walk.set_headers) {
      field.is_removed |= is_name_of(head.fields.name(field), name);
    }
  }
}

// ---- Holding ------------------------------------------------------------------------------------

void Exchange::begin_holding() {
  inspection_->is_begun = true;
  arm(idle_timeout());
  if (inspection_->is_gathering() && is_request_complete_) decide();
}

void Exchange::hold_body(BodyParts& body, std::string_view trailer_section) {
  Inspection& inspection = *inspection_;
  const std::size_t size = inspection.body.size() + body.data_bytes;
  if (size > config().limits.inspected_body_size.value) {
    reject(413, Flag::LimitExceeded, "the request body is larger than what is inspected");
    return;
  }
  for (std::size_t i = 0; i < body.size(); ++i) {
    const iovec& part = body.begin()[i];
    inspection.body.append(worker_.buffers(),
                           {static_cast<const char*>(part.iov_base), part.iov_len});
  }
  if (body.is_done) inspection.trailers.assign(trailer_section);
  if (!inspection.is_begun) return;
  arm(idle_timeout());
  if (inspection.is_gathering() && is_request_complete_) decide();
}

// The body is there: the rules go on from where they stopped.
void Exchange::decide() {
  Inspection& inspection = *inspection_;
  inspection.has_body = true;
  const RuleSet& rules = *context_->routes->snapshot->rules();
  const RuleStep step = rules.advance(question_of(*context_, inspection.head),
                                      inspection.body.view(), inspection.walk);
  if (follow(step, inspection.head) && !inspection.is_holding()) let_pass();
}

// The held request goes on as if it had only now come.
void Exchange::let_pass() {
  Inspection& inspection = *inspection_;
  inspection.state = Inspection::State::Passing;
  inspection.call.reset();
  if (is_request_complete_ && inspection.trailers.empty() &&
      request_framing_.kind == BodyKind::Chunked) {
    request_framing_ = {BodyKind::Length, inspection.body.size()};
  }
  prepare(inspection.head);
  if (is_awaiting_tunnel()) {
    is_request_complete_ = false;
    dispatch();
    return;
  }
  const std::uint64_t id = id_;
  if (!uses_http2_ && request_framing_.kind == BodyKind::Length &&
      inspection.body.size() > kCopiedBytesMax) {
    std::swap(upstream_out_, inspection.body);  // it goes out behind the head
  }
  BodyParts body;
  body.is_done = is_request_complete_;
  if (!inspection.body.is_empty()) body.add_data(inspection.body.view());
  if (body.is_done || body.data_bytes > 0) pass_body(body, inspection.trailers);
  if (id != id_ || response_state_ != ResponseState::AwaitingHead) return;
  if (!inspection.body.is_empty()) inspection.body.release(worker_.buffers());
  dispatch();
  if (id == id_ && downstream_ != nullptr && !is_request_complete_) downstream_->resume_request();
}

// ---- External checks ----------------------------------------------------------------------------

// False after it answered.
bool Exchange::ask_check(const config::ExternalCheck& check, const RequestHead& head) {
  Inspection& inspection = *inspection_;
  const RouteTable& routes = *context_->routes;
  const auto index = routes.snapshot->upstream_of_name(check.upstream);
  PILLION_ASSERT(index.has_value());  // the configuration was checked
  const std::shared_ptr<Cluster>& cluster = routes.clusters[*index];
  Question question = make_question(check, *cluster, *context_, head, request_id_,
                                    check.send_body ? inspection.body.view() : std::string_view());
  VerdictUser& self = *this;
  inspection.call = std::make_unique<ExternalCall>(worker_, cluster, std::move(question), self);
  inspection.call->begin(check.timeout);
  return true;
}

void Exchange::on_verdict(const Verdict& verdict) {
  Inspection& inspection = *inspection_;
  const config::ExternalCheck& check = *inspection.rule->check;
  const bool has_failed = !verdict.is_answered || verdict.head->status >= 500;
  if (has_failed && !check.allow_on_failure) {
    const std::string reason = verdict.is_answered
                                   ? "it answered " + std::to_string(verdict.head->status)
                                   : verdict.failure;
    deny(503, "check_failed", "the check " + inspection.rule->name + " failed: " + reason);
    return;
  }
  const bool is_allowed = has_failed || verdict.head->status / 100 == 2;
  if (!is_allowed) {
    deny_as_checked(verdict);
    return;
  }
  for (const std::string& name : check.take_headers) {
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    inspection.walk.set_header(
        name, has_failed ? std::string() : std::string(value_of(verdict.head->fields, lower)));
  }
  RuleSet::note_checked(inspection.walk);
  const auto body =
      inspection.has_body ? std::optional<std::string_view>(inspection.body.view()) : std::nullopt;
  const RuleSet& rules = *context_->routes->snapshot->rules();
  const RuleStep step =
      rules.advance(question_of(*context_, inspection.head), body, inspection.walk);
  const std::uint64_t id = id_;
  if (!follow(step, inspection.head) || id != id_) return;
  if (!inspection.is_holding()) {
    let_pass();
  } else if (inspection.is_gathering()) {
    if (is_request_complete_) {
      decide();
    } else {
      downstream_->resume_request();
    }
  }
}

// The check's own answer is the client's.
void Exchange::deny_as_checked(const Verdict& verdict) {
  release_upstream(false);
  inspection_->state = Inspection::State::Passing;
  is_request_complete_ |= !has_content(request_framing_);
  status_ = verdict.head->status;
  flag_ = Flag::Refused;
  details_ = "denied_by_check";
  response_state_ = ResponseState::Done;
  LocalReply reply;
  reply.status = status_;
  reply.body.assign(verdict.body);
  reply.proxy_status = config().via + "; error=http_request_denied; details=\"RF\"";
  reply.is_grpc = is_grpc_;
  reply.reason = "denied by an external check";
  for (const Field& field : verdict.head->fields.all()) {
    const std::string_view name = verdict.head->fields.name(field);
    for (const std::string_view known : kRefusalFields) {
      if (http1::equals_ignoring_case(name, known)) {
        reply.fields.emplace_back(name, verdict.head->fields.value(field));
      }
    }
  }
  bytes_sent_ = is_head_ ? 0 : reply.body.size();
  downstream_->send_reply(reply);
}

}  // namespace pillion::proxy
