#include "adapters/logs/output/otlp.h"

#include <algorithm>
#include <map>
#include <utility>

#include "adapters/logs/output/otlp_record.h"
#include "runtime/otlp_response.h"

namespace pillion::logs {
namespace {

constexpr std::pair<std::string_view, std::string_view> kAttributes[] = {
    {"process.thread.name", "thread.name"},
    {"process.thread.id", "thread.id"},
    {"error.type", "exception.type"},
    {"error.stack_trace", "exception.stacktrace"},
    {"stream", "log.iostream"},
    {"event.original", "log.record.original"},
    {"http.response.body.bytes", "http.response.body.size"},
    {"http.request.body.bytes", "http.request.body.size"},
    {"http.version", "network.protocol.version"},
    {"source.address", "client.address"},
    {"log.origin.file.name", "code.file.path"},
    {"log.origin.file.line", "code.line.number"},
    {"log.origin.function", "code.function.name"},
};

class OtlpDialect final : public HttpDialect {
 public:
  explicit OtlpDialect(OtlpOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "otlp " + options_.url; }
  std::string target() const override { return options_.url; }
  std::string url() const override { return options_.url + "/v1/logs"; }
  HttpClient::Headers headers() const override {
    HttpClient::Headers headers = options_.headers;
    headers.push_back(
        {"Content-Type", options_.is_protobuf ? "application/x-protobuf" : "application/json"});
    return headers;
  }

  std::string body(const RecordBuffer& records) const override {
    std::map<std::string, std::string> by_resource;  // log records by their resource's attributes
    for (std::size_t i = 0; i < records.record_count(); ++i) {
      const OtlpRecord record = OtlpRecord::of(records.record(i));
      if (options_.is_protobuf) {
        by_resource[record.resource_protobuf()] += record.protobuf();
      } else {
        std::string& texts = by_resource[record.resource_json()];
        texts += (texts.empty() ? "" : ",") + record.json();
      }
    }
    return options_.is_protobuf ? request_protobuf(by_resource) : request_json(by_resource);
  }

  Answer judge(const HttpClient::Response& response, std::size_t record_count) const override {
    if (response.status != 200) return judge_by_status(response);
    auto refusal = read_otlp_response(response.body, options_.is_protobuf, "rejectedLogRecords");
    Answer answer;
    answer.rejected = std::min<std::uint64_t>(refusal.count, record_count);
    answer.why = std::move(refusal.why);
    return answer;
  }

 private:
  OtlpOptions options_;
};

}  // namespace

std::string_view otel_name(std::string_view ecs_name) {
  const auto* const found = std::find_if(std::begin(kAttributes), std::end(kAttributes),
                                         [&](const auto& name) { return name.first == ecs_name; });
  return found == std::end(kAttributes) ? ecs_name : found->second;
}

std::map<std::string_view, std::string_view> otel_names() {
  std::map<std::string_view, std::string_view> names(std::begin(kAttributes),
                                                     std::end(kAttributes));
  names["@timestamp"] = "timestamp";
  names["event.created"] = "observed_timestamp";
  names["log.level"] = "severity_text";
  names["message"] = "body";
  names["trace.id"] = "trace_id";
  names["span.id"] = "span_id";
  return names;
}

std::unique_ptr<HttpDialect> make_otlp_dialect(OtlpOptions options) {
  return std::make_unique<OtlpDialect>(std::move(options));
}

}  // namespace pillion::logs
