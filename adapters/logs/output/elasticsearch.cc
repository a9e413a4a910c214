#include "adapters/logs/output/elasticsearch.h"

#include <utility>

namespace pillion::logs {
namespace {

class ElasticsearchDialect final : public HttpDialect {
 public:
  explicit ElasticsearchDialect(ElasticsearchOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "elasticsearch " + options_.index; }
  std::string target() const override { return options_.index; }
  std::string url() const override {
    std::string url = options_.url + "/" + options_.index +
                      "/_bulk?filter_path=errors,items.*.status,items.*.error";
    if (!options_.pipeline.empty()) url += "&pipeline=" + options_.pipeline;
    return url;
  }
  HttpClient::Headers headers() const override {
    return {{"Content-Type", "application/x-ndjson"}};
  }
  std::string body(const RecordBuffer& records) const override {
    return std::string(records.bytes());
  }
  Answer judge(const HttpClient::Response& response, std::size_t record_count) const override {
    if (response.status != 200) return judge_by_status(response);
    auto verdicts = parse_bulk_response(response.body, record_count, options_.has_own_id);
    Answer answer;
    answer.kind = verdicts ? Answer::Kind::Items : Answer::Kind::Retry;
    if (verdicts) {
      answer.items = std::move(*verdicts);
    } else {
      answer.why = verdicts.error().message();
    }
    return answer;
  }
  std::string healed(std::string_view record) const override {
    if (!options_.heals_conflicts) return {};
    std::string other = with_labels(record, options_.own_names);
    return other == record ? std::string() : other;
  }
  std::string_view document(std::string_view record) const override {
    return record.substr(record.find('\n') + 1);
  }

 private:
  ElasticsearchOptions options_;
};

}  // namespace

void set_bulk_action(Envelope& envelope, const ElasticsearchOptions& options) {
  envelope.record_prefix = "{\"" + options.operation + "\":{}}\n";
  if (!options.has_own_id) return;
  envelope.id_base = "{\"" + options.operation + "\":{\"_id\":\"";
  envelope.id_suffix = "\"}}\n";
}

std::unique_ptr<HttpDialect> make_elasticsearch_dialect(ElasticsearchOptions options) {
  return std::make_unique<ElasticsearchDialect>(std::move(options));
}

}  // namespace pillion::logs
