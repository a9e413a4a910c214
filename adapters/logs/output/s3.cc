#include "adapters/logs/output/s3.h"

#include <algorithm>
#include <utility>

#include "adapters/logs/output/aws_signature.h"
#include "runtime/fd.h"
#include "runtime/text_codes.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kKeyBytesMax = 1024;  // S3's own limit

Result<std::string> read_line(const std::string& path) {
  auto text = read_file(path, 64u << 10);
  if (!text) return text;
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  if (text->empty()) return fail(path + " is empty");
  return text;
}

// No part of a path may lead elsewhere.
std::string without_dot_segments(const std::string& key) {
  std::string out;
  for (std::size_t at = 0; at <= key.size();) {
    const std::size_t end = std::min(key.find('/', at), key.size());
    std::string segment = key.substr(at, end - at);
    if (segment == "." || segment == "..") segment.insert(0, 1, '_');
    if (!segment.empty()) out += (out.empty() ? "" : "/") + segment;
    at = end + 1;
  }
  return out;
}

class S3Dialect final : public HttpDialect {
 public:
  explicit S3Dialect(S3Options options) : options_(std::move(options)) {
    const std::size_t host = options_.url.find("://") + 3;
    base_ = options_.has_path_style
                ? options_.url + "/" + percent_encoded(options_.bucket, false) + "/"
                : options_.url.substr(0, host) + options_.bucket + "." + options_.url.substr(host) +
                      "/";
  }

  std::string name() const override { return "s3 " + options_.bucket; }
  std::string target() const override { return options_.bucket; }
  std::string url() const override { return base_; }
  HttpClient::Headers headers() const override {
    switch (options_.coding) {
      case Coding::Gzip: return {{"Content-Type", "application/gzip"}};
      case Coding::Zstd: return {{"Content-Type", "application/zstd"}};
      case Coding::None: break;
    }
    return {{"Content-Type", "application/x-ndjson"}};
  }
  // An object is a file: it is compressed itself, not on its way.
  std::string body(const RecordBuffer& records) const override {
    return compressed(options_.coding, records.bytes());
  }
  Result<void> finish(HttpClient::Request& request, const PartFacts& facts) const override {
    AwsCredentials credentials;
    auto access = read_line(options_.access_key_file);
    if (!access) return fail(access.error());
    auto secret = read_line(options_.secret_key_file);
    if (!secret) return fail(secret.error());
    credentials.access_key = std::move(*access);
    credentials.secret_key = std::move(*secret);
    if (!options_.session_token_file.empty()) {
      auto token = read_line(options_.session_token_file);
      if (!token) return fail(token.error());
      credentials.session_token = std::move(*token);
    }
    std::string key = without_dot_segments(options_.key.render(facts.first_record, facts.id));
    if (options_.coding == Coding::Gzip) key += ".gz";
    if (options_.coding == Coding::Zstd) key += ".zst";
    if (key.size() > kKeyBytesMax) return fail("the object's key is longer than 1024 bytes");
    request.method = "PUT";
    request.url = base_ + percent_encoded(key, true);
    sign_aws_request(request, credentials, options_.region, "s3", facts.wall_ns);
    return {};
  }
  Answer judge(const HttpClient::Response& response, std::size_t) const override {
    Answer answer = judge_by_status(response);
    const auto says = [&](const char* code) {
      return response.body.find(code) != std::string::npos;
    };
    if (response.status == 400 && !says("EntityTooLarge")) {
      // A clock that is off, a broken transfer: nothing that halving finds.
      answer.kind =
          says("RequestTimeout") || says("BadDigest") ? Answer::Kind::Retry : Answer::Kind::Hold;
    }
    if (const std::size_t code = response.body.find("<Code>"); code != std::string::npos) {
      const std::size_t end = response.body.find('<', code + 6);
      if (!answer.why.empty()) answer.why += ": " + response.body.substr(code + 6, end - code - 6);
    }
    return answer;
  }

 private:
  S3Options options_;
  std::string base_;  // up to where the key begins
};

}  // namespace

std::unique_ptr<HttpDialect> make_s3_dialect(S3Options options) {
  return std::make_unique<S3Dialect>(std::move(options));
}

}  // namespace pillion::logs
