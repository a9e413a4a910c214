#include "adapters/logs/output/loki.h"

#include <utility>

#include <fmt/format.h>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

class LokiDialect final : public HttpDialect {
 public:
  explicit LokiDialect(LokiOptions options) : options_(std::move(options)) {
    for (const auto& [name, value] : options_.labels) {
      append_json_string(labels_, name);
      labels_ += ':';
      append_json_string(labels_, value);
      labels_ += ',';
    }
  }

  std::string name() const override { return "loki " + options_.url; }
  std::string target() const override { return options_.url; }
  std::string url() const override { return options_.url + "/loki/api/v1/push"; }
  HttpClient::Headers headers() const override {
    HttpClient::Headers headers{{"Content-Type", "application/json"}};
    if (!options_.tenant.empty()) headers.push_back({"X-Scope-OrgID", options_.tenant});
    return headers;
  }
  std::string body(const RecordBuffer& records) const override {
    std::map<std::string, std::string> streams;  // entries by the labels of their stream
    for (std::size_t i = 0; i < records.record_count(); ++i) add_entry(records.record(i), streams);
    std::string body = "{\"streams\":[";
    for (const auto& [labels, entries] : streams) {
      if (body.back() == '}') body += ',';
      body += "{\"stream\":{" + labels + "},\"values\":[" + entries + "]}";
    }
    return body + "]}";
  }
  // A 400 says that one entry is too old or too long; Loki has stored the others, and forgets
  // repeats of them.
  Answer judge(const HttpClient::Response& response, std::size_t) const override {
    return judge_by_status(response);
  }

 private:
  void add_entry(std::string_view record, std::map<std::string, std::string>& streams) const {
    std::string labels = labels_;
    std::int64_t nanoseconds = 0;
    const auto label = [&](const char* name, std::string_view value) {
      if (options_.labels.contains(name) || value.size() < 2 || value.front() != '"') return;
      labels += fmt::format("\"{}\":{},", name, value);
    };
    RecordFields fields(record);
    for (RecordField field; fields.next(field);) {
      if (field.key == "@timestamp") nanoseconds = unix_nanoseconds(field.value);
      if (field.key == "service.name") label("service_name", field.value);
      if (field.key == "host.name") label("host", field.value);
      if (field.key == "log.level") label("level", field.value);
    }
    if (!labels.empty()) labels.pop_back();
    std::string& entries = streams[labels];
    entries += fmt::format("{}[\"{}\",", entries.empty() ? "" : ",", nanoseconds);
    append_json_string(entries, record.substr(0, record.size() - 1));
    entries += ']';
  }

  LokiOptions options_;
  std::string labels_;  // "name":"value", each
};

}  // namespace

std::unique_ptr<HttpDialect> make_loki_dialect(LokiOptions options) {
  return std::make_unique<LokiDialect>(std::move(options));
}

}  // namespace pillion::logs
