#include "adapters/logs/output/ndjson.h"

#include <utility>

namespace pillion::logs {
namespace {

class NdjsonDialect final : public HttpDialect {
 public:
  explicit NdjsonDialect(NdjsonOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "http " + target(); }
  // Without the query, which may hold a secret.
  std::string target() const override { return options_.url.substr(0, options_.url.find('?')); }
  std::string url() const override { return options_.url; }
  HttpClient::Headers headers() const override {
    HttpClient::Headers headers = options_.headers;
    headers.push_back(
        {"Content-Type", options_.is_array ? "application/json" : "application/x-ndjson"});
    return headers;
  }
  std::string body(const RecordBuffer& records) const override {
    std::string body(records.bytes());
    if (!options_.is_array) return body;
    body.insert(0, 1, '[');
    std::size_t end = 1;
    for (std::size_t i = 0; i < records.record_count(); ++i) {
      end += records.record(i).size();
      body[end - 1] = ',';
    }
    body.back() = ']';
    return body;
  }
  Answer judge(const HttpClient::Response& response, std::size_t) const override {
    return judge_by_status(response);
  }

 private:
  NdjsonOptions options_;
};

}  // namespace

std::unique_ptr<HttpDialect> make_ndjson_dialect(NdjsonOptions options) {
  return std::make_unique<NdjsonDialect>(std::move(options));
}

}  // namespace pillion::logs
