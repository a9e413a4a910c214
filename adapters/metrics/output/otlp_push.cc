#include "adapters/metrics/output/otlp_push.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "adapters/metrics/make_sources.h"
#include "runtime/compression.h"
#include "runtime/log.h"
#include "runtime/otlp_response.h"

namespace pillion::metrics {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{1'000};
constexpr long kRetryAfterMax = 3600;  // seconds

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

// OTLP: these and a lost connection may pass; everything else is for good.
bool is_passing(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

long retry_after_of(const HttpClient::Response& response) {
  const std::string* const text = response.find_header("Retry-After");
  long seconds = 0;
  if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), seconds);
  return std::clamp(seconds, 0L, kRetryAfterMax);
}

}  // namespace

OtlpPush::OtlpPush(Loop& loop, const Clock& clock, HttpClient& client,
                   config::OtlpMetricsOutput config, const std::string& service, Collect collect)
    : loop_(loop),
      clock_(clock),
      client_(client),
      config_(std::move(config)),
      resource_(config_.resource),
      collect_(std::move(collect)),
      next_(loop),
      random_(std::random_device{}()),
      is_alive_(std::make_shared<bool>(true)) {
  resource_.emplace("service.name", service.empty() ? "unknown_service:pillion-metrics" : service);
  if (const std::string host = host_name(); !host.empty()) resource_.emplace("host.name", host);
}

OtlpPush::~OtlpPush() { *is_alive_ = false; }

void OtlpPush::start() {
  next_.start(std::min<milliseconds>(config_.interval, kFirstRetry), [this] { push(); });
}

void OtlpPush::finish(std::function<void()> on_done) {
  on_finished_ = std::move(on_done);
  if (is_busy_) {  // what it carries is old
    exchange_.cancel();
    is_busy_ = false;
    *is_alive_ = false;
    is_alive_ = std::make_shared<bool>(true);
  }
  push();
}

void OtlpPush::push() {
  is_busy_ = true;
  ++pushes_;
  const auto now = clock_.wall_now().time_since_epoch();
  auto request =
      otlp_request(collect_(), resource_, config_.encoding == config::OtlpEncoding::Protobuf,
                   starts_, static_cast<std::uint64_t>(Duration(now).count()));
  auto body = std::make_shared<std::string>(std::move(request.body));
  const bool compresses = config_.compress;
  loop_.queue_work(
      [body, compresses] {
        if (compresses) *body = compressed(Coding::Gzip, *body);
      },
      [this, is_alive = is_alive_, body, points = request.points] {
        if (*is_alive) send(std::move(*body), points);
      });
}

void OtlpPush::send(std::string body, std::size_t points) {
  HttpClient::Request request;
  request.method = "POST";
  request.url = config_.url + (config_.url.ends_with('/') ? "v1/metrics" : "/v1/metrics");
  request.body = std::move(body);
  request.total_timeout = config_.timeout;
  request.connect_timeout = std::min(request.connect_timeout, config_.timeout);
  const bool is_protobuf = config_.encoding == config::OtlpEncoding::Protobuf;
  request.headers.push_back(
      {"Content-Type", is_protobuf ? "application/x-protobuf" : "application/json"});
  if (config_.compress) request.headers.push_back({"Content-Encoding", "gzip"});
  for (const auto& [name, value] : config_.headers) request.headers.push_back({name, value});
  Result<void> ready = add_access(request, config_.tls, config_.auth);
  for (const auto& [name, path] : config_.header_files) {
    auto value = read_secret(path);
    if (value) {
      request.headers.push_back({name, std::move(*value)});
    } else if (ready) {
      ready = fail(value.error());
    }
  }
  if (!ready) {
    fail_with(ready.error().message(), true, 0);
    return;
  }
  exchange_ = client_.send(std::move(request), [this, points](Result<HttpClient::Response> answer) {
    on_response(std::move(answer), points);
  });
}

void OtlpPush::on_response(Result<HttpClient::Response> response, std::size_t points) {
  if (!response) {
    fail_with(response.error().message(), true, 0);
    return;
  }
  if (response->status < 200 || response->status > 299) {
    fail_with("the server answers " + std::to_string(response->status),
              is_passing(response->status), retry_after_of(*response));
    return;
  }
  const OtlpRefusal refusal = read_otlp_response(
      response->body, config_.encoding == config::OtlpEncoding::Protobuf, "rejectedDataPoints");
  const std::uint64_t rejected = std::min<std::uint64_t>(refusal.count, points);
  points_ += points - rejected;
  rejected_ += rejected;
  const std::string why =
      rejected == 0 ? "" : std::to_string(rejected) + " points refused: " + clean_text(refusal.why);
  if (!why.empty() && why != trouble_) log::warn("{}: {}", name(), why);
  if (why.empty() && !trouble_.empty()) log::info("{}: takes points again", name());
  trouble_ = why;
  attempt_ = 0;
  settle(config_.interval);
}

void OtlpPush::fail_with(const std::string& why, bool is_passing, long retry_after_seconds) {
  ++failures_;
  if (trouble_ != why) log::warn("{}: {}; trying again", name(), why);
  trouble_ = why;
  milliseconds wait = config_.interval;
  if (is_passing) {
    const milliseconds backoff = kFirstRetry * (1LL << std::min(attempt_++, 16u));
    const double share = std::uniform_real_distribution<double>(0.5, 1)(random_);
    wait = std::min(
        wait, milliseconds(static_cast<long long>(share * static_cast<double>(backoff.count()))));
  }
  settle(std::max(wait, milliseconds(retry_after_seconds * 1000)));
}

void OtlpPush::settle(milliseconds wait) {
  is_busy_ = false;
  if (on_finished_) {
    const auto on_finished = std::move(on_finished_);
    on_finished_ = nullptr;
    on_finished();
    return;
  }
  next_.start(wait, [this] { push(); });
}

void OtlpPush::report(Families& own) const {
  const Labels labels{{"output", name()}};
  const auto add = [&](const char* metric, std::uint64_t value, const char* help) {
    own.add(metric, Kind::Counter, static_cast<double>(value), labels, help);
  };
  add("pillion_metrics_pushes_total", pushes_, "Pushes begun.");
  add("pillion_metrics_push_failures_total", failures_, "Pushes that were not taken.");
  add("pillion_metrics_pushed_points_total", points_, "Points that were taken.");
  add("pillion_metrics_rejected_points_total", rejected_, "Points that were refused for good.");
  own.add("pillion_metrics_output_up", Kind::Gauge, trouble_.empty() ? 1 : 0, labels,
          "Whether the last push was taken.");
}

}  // namespace pillion::metrics
