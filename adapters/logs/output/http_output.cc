#include "adapters/logs/output/http_output.h"

#include <algorithm>
#include <numeric>

#include "runtime/fd.h"
#include "runtime/json_text.h"
#include "runtime/log.h"
#include "runtime/text_codes.h"

namespace pillion::logs {
namespace {

constexpr std::int64_t kHurriedBackoffMs = 500;
constexpr unsigned kRetryAfterMax = 300;  // seconds
constexpr std::size_t kErrorTextMax = 4096;

Result<std::string> read_secret(const std::string& path) {
  auto text = read_file(path, 64u << 10);
  if (!text) return text;
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  return text;
}

}  // namespace

Answer judge_by_status(const HttpClient::Response& response) {
  Answer answer;
  if (response.status >= 200 && response.status < 300) return answer;
  answer.why = "the server answers " + std::to_string(response.status);
  switch (choose_request_verdict(response.status)) {
    case RequestVerdict::Halve: answer.kind = Answer::Kind::Halve; break;
    case RequestVerdict::RetryAll: answer.kind = Answer::Kind::Retry; break;
    case RequestVerdict::Hold:
      answer.kind = Answer::Kind::Hold;
      answer.why += " (rights or address: nothing is delivered until it is mended)";
      break;
  }
  return answer;
}

HttpOutput::HttpOutput(Loop& loop, const Clock& clock, HttpOutputOptions options,
                       std::unique_ptr<HttpDialect> dialect, OnDone on_done)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      dialect_(std::move(dialect)),
      on_done_(std::move(on_done)),
      client_(loop),
      dead_letters_(options_.dead_letter_path),
      backoff_(loop),
      random_(std::random_device{}()),
      is_alive_(std::make_shared<bool>(true)) {}

HttpOutput::~HttpOutput() { *is_alive_ = false; }

void HttpOutput::deliver(Batch& batch) {
  const std::size_t count = batch.records.record_count();
  unsettled_[&batch] = count;
  for (std::size_t at = 0; at < count;) {
    Part part{&batch, std::vector<std::uint32_t>(std::min(options_.batch_records, count - at))};
    std::iota(part.records.begin(), part.records.end(), static_cast<std::uint32_t>(at));
    at += part.records.size();
    waiting_.push_back(std::move(part));
  }
  send_waiting();
}

void HttpOutput::send_waiting() {
  if (backoff_.is_active()) return;
  // After a failure one request feels the way.
  const std::size_t requests_max = attempt_ > 0 ? 1 : options_.requests_max;
  while (!waiting_.empty() && in_flight_.size() < requests_max) {
    Part part = std::move(waiting_.front());
    waiting_.pop_front();
    start(std::move(part));
  }
}

void HttpOutput::start(Part part) {
  const std::uint64_t id = next_id_++;
  Request& request = in_flight_[id];
  request.part = std::move(part);
  // Copied: the work may end after the batch.
  auto records = std::make_shared<RecordBuffer>();
  for (const std::uint32_t record : request.part.records) {
    const std::string_view text = record_of(request.part, record);
    char* const place = records->reserve(text.size());
    text.copy(place, text.size());
    records->end_record(place + text.size());
  }
  auto body = std::make_shared<std::string>();
  loop_.queue_work(
      [dialect = dialect_, records, coding = options_.coding, body] {
        *body = dialect->body(*records);
        if (coding != Coding::None) *body = compressed(coding, *body);
      },
      [this, is_alive = is_alive_, id, body] {
        if (*is_alive) send(id, std::move(*body));
      });
}

Result<HttpClient::Headers> HttpOutput::headers() const {
  HttpClient::Headers headers = dialect_->headers();
  if (options_.coding != Coding::None) {
    headers.push_back({"Content-Encoding", std::string(name_of(options_.coding))});
  }
  const auto add_secret = [&](const std::string& path, auto make_value) -> Result<void> {
    if (path.empty()) return {};
    auto secret = read_secret(path);  // anew each time: secrets rotate
    if (!secret) return fail(secret.error());
    headers.push_back({"Authorization", make_value(*secret)});
    return {};
  };
  auto result = add_secret(options_.password_file, [&](const std::string& secret) {
    return "Basic " + base64(options_.user + ":" + secret);
  });
  if (result) {
    result = add_secret(options_.api_key_file,
                        [](const std::string& secret) { return "ApiKey " + secret; });
  }
  if (result) {
    result = add_secret(options_.bearer_file,
                        [](const std::string& secret) { return "Bearer " + secret; });
  }
  if (!result) return fail(result.error());
  return headers;
}

// The whole request, or why it cannot be made now.
Result<HttpClient::Request> HttpOutput::request_of(const Part& part, std::string body) const {
  auto with_headers = headers();
  if (!with_headers) return fail(with_headers.error());
  HttpClient::Request request;
  request.method = "POST";
  request.url = dialect_->url();
  request.headers = std::move(*with_headers);
  request.total_timeout = options_.timeout;
  request.tls = options_.tls;
  request.body = std::move(body);
  const std::uint32_t first = part.records.front();
  PartFacts facts;
  facts.first_record = record_of(part, first);
  facts.id = part.batch->identity + (first == 0 ? "" : "-" + std::to_string(first));
  facts.wall_ns = clock_.wall_now().time_since_epoch().count();
  if (auto done = dialect_->finish(request, facts); !done) return fail(done.error());
  return request;
}

void HttpOutput::send(std::uint64_t id, std::string body) {
  auto request = request_of(in_flight_[id].part, std::move(body));
  if (!request) {
    const std::string why = request.error().message();
    loop_.defer([this, is_alive = is_alive_, id, why] {
      if (*is_alive) on_response(id, fail(why));
    });
    return;
  }
  bytes_sent_ += request->body.size();
  ++requests_;
  in_flight_[id].exchange = client_.send(
      std::move(*request),
      [this, id](Result<HttpClient::Response> response) { on_response(id, std::move(response)); });
}

void HttpOutput::on_response(std::uint64_t id, Result<HttpClient::Response> response) {
  const auto entry = in_flight_.find(id);
  Part part = std::move(entry->second.part);
  in_flight_.erase(entry);
  if (!response) {
    retry(std::move(part), response.error().message());
    send_waiting();
    return;
  }
  const Answer answer = dialect_->judge(*response, part.records.size());
  const std::string* const retry_after = response->find_header("Retry-After");
  switch (answer.kind) {
    case Answer::Kind::Items: apply_items(std::move(part), answer.items); break;
    case Answer::Kind::Done: {
      attempt_ = 0;
      trouble_.clear();
      if (answer.rejected > 0) {
        log::warn("{}: {} of {} records were refused for good: {}", name(), answer.rejected,
                  part.records.size(), answer.why);
      }
      // Which of them, the answer does not say: the last ones stand for them in the ledger.
      const auto kept =
          part.records.size() - std::min<std::size_t>(answer.rejected, part.records.size());
      part.batch->dropped.insert(part.batch->dropped.end(),
                                 part.records.begin() + static_cast<std::ptrdiff_t>(kept),
                                 part.records.end());
      count_settled(*part.batch, part.records.size());
      break;
    }
    case Answer::Kind::Halve: halve(std::move(part), *response); break;
    case Answer::Kind::Retry:
      retry(std::move(part), answer.why, retry_after ? std::string_view(*retry_after) : "");
      break;
    case Answer::Kind::Hold: retry(std::move(part), answer.why); break;
  }
  send_waiting();
}

void HttpOutput::apply_items(Part part, const std::vector<ItemVerdict>& items) {
  std::size_t settled = 0;
  Part again{part.batch, {}}, healed{part.batch, {}};
  std::string why;
  for (std::size_t i = 0; i < part.records.size(); ++i) {
    const ItemVerdict& item = items[i];
    if (item.verdict == Verdict::Done) {
      ++settled;
    } else if (item.is_mapping_conflict && heal(part, part.records[i])) {
      healed.records.push_back(part.records[i]);
    } else if (item.verdict == Verdict::Reject &&
               bury(part, part.records[i], item.status, item.error)) {
      ++settled;
    } else {
      again.records.push_back(part.records[i]);
      if (item.verdict == Verdict::Hold || why.empty()) {
        why = "records refused with status " + std::to_string(item.status) + " " + item.error;
      }
    }
  }
  if (!healed.records.empty()) waiting_.push_front(std::move(healed));
  if (again.records.empty()) {
    attempt_ = 0;
    trouble_.clear();
  } else {
    retry(std::move(again), why);
  }
  count_settled(*part.batch, settled);
}

void HttpOutput::retry(Part part, const std::string& why, std::string_view retry_after) {
  report_trouble(why);
  retried_ += part.records.size();
  waiting_.push_front(std::move(part));
  if (backoff_.is_active()) return;
  const double uniform = std::uniform_real_distribution<double>()(random_);
  const auto max = is_hurried_ ? kHurriedBackoffMs : options_.backoff_max.count();
  std::int64_t delay = backoff_ms(attempt_++, options_.backoff_base.count(), max, uniform);
  if (!is_hurried_) {
    delay = std::max<std::int64_t>(delay, parse_retry_after(retry_after, kRetryAfterMax) * 1000);
  }
  backoff_.start(std::chrono::milliseconds(delay), [this] { send_waiting(); });
}

// Whether the record has a form that may fit better, which it has from now on. Once only.
bool HttpOutput::heal(const Part& part, std::uint32_t record) {
  auto& forms = healed_[part.batch];
  if (forms.contains(record)) return false;
  std::string other = dialect_->healed(part.batch->records.record(record));
  if (other.empty()) return false;
  forms[record] = std::move(other);
  ++healed_count_;
  return true;
}

std::string_view HttpOutput::record_of(const Part& part, std::uint32_t record) const {
  const auto forms = healed_.find(part.batch);
  if (forms != healed_.end()) {
    const auto form = forms->second.find(record);
    if (form != forms->second.end()) return form->second;
  }
  return part.batch->records.record(record);
}

// The request was too large, or one record broke it: half of it each time, until it is one record.
void HttpOutput::halve(Part part, const HttpClient::Response& response) {
  if (part.records.size() == 1) {
    std::string error;  // the server's words, as JSON text
    if (!response.body.empty()) {
      append_json_string(error, std::string_view(response.body).substr(0, kErrorTextMax));
    }
    if (bury(part, part.records[0], response.status, error)) {
      count_settled(*part.batch, 1);
    } else {
      retry(std::move(part), "the dead letter file cannot be written");
    }
    return;
  }
  const auto middle = part.records.begin() + static_cast<std::ptrdiff_t>(part.records.size() / 2);
  waiting_.push_front({part.batch, {middle, part.records.end()}});
  waiting_.push_front({part.batch, {part.records.begin(), middle}});
}

bool HttpOutput::bury(const Part& part, std::uint32_t record, int status, std::string_view error) {
  const std::string_view document = dialect_->document(part.batch->records.record(record));
  const auto written = dead_letters_.append(dialect_->target(), status, error, document,
                                            clock_.wall_now().time_since_epoch().count());
  if (!written) {
    log::error("{}", written.error().message());
    return false;
  }
  part.batch->dropped.push_back(record);
  if (buried_++ == 0) {
    log::warn("{}: a record was refused for good (status {} {}); such records go to {}", name(),
              status, error, dead_letters_.path());
  }
  return true;
}

void HttpOutput::count_settled(Batch& batch, std::size_t records) {
  auto& left = unsettled_[&batch];
  left -= records;
  if (left > 0) return;
  unsettled_.erase(&batch);
  healed_.erase(&batch);
  on_done_(batch);
}

void HttpOutput::report_trouble(const std::string& why) {
  if (trouble_ != why) log::warn("{}: {}; trying again", name(), why);
  trouble_ = why;
}

void HttpOutput::hurry() {
  is_hurried_ = true;
  if (!backoff_.is_active()) return;
  backoff_.stop();
  send_waiting();
}

std::vector<Output::Stat> HttpOutput::stats() const {
  return {{"pillion_logs_requests_total", "Requests sent.", requests_},
          {"pillion_logs_retried_records_total", "Records sent again.", retried_},
          {"pillion_logs_sent_bytes_total", "Bytes of request bodies, as sent.", bytes_sent_},
          {"pillion_logs_healed_records_total",
           "Records sent again with their fields under `labels`, after a mapping conflict.",
           healed_count_},
          {"pillion_logs_dead_letters_total", "Records refused for good, in the dead letter file.",
           buried_}};
}

}  // namespace pillion::logs
