#include "adapters/logs/output/aws_signature.h"
#include "runtime/text_codes.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include <algorithm>
#include <map>

namespace pillion::logs {
namespace {

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string sha256(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest), length};
}

std::string hmac(std::string_view key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &length);
  return {reinterpret_cast<const char*>(digest), length};
}

struct Address {
  std::string host;  // as the Host header has it: with the port unless it is the scheme's own
  std::string path;
};

Address address_of(const std::string& url) {
  const std::size_t scheme_end = url.find("://");
  const std::size_t begin = scheme_end == std::string::npos ? 0 : scheme_end + 3;
  const std::size_t slash = std::min(url.find('/', begin), url.size());
  Address address{url.substr(begin, slash - begin), url.substr(slash)};
  const std::string own_port = url.starts_with("https:") ? ":443" : ":80";
  if (address.host.ends_with(own_port)) {
    address.host.resize(address.host.size() - own_port.size());
  }
  if (address.path.empty()) address.path = "/";
  return address;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

}  // namespace

void sign_aws_request(HttpClient::Request& request, const AwsCredentials& credentials,
                      std::string_view region, std::string_view service, std::int64_t wall_ns) {
  const time_t seconds = wall_ns / 1'000'000'000;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char time[32];
  const std::string moment(time, ::strftime(time, sizeof time, "%Y%m%dT%H%M%SZ", &parts));
  const std::string day = moment.substr(0, 8);
  const std::string body_hash = hex(sha256(request.body));
  request.headers.push_back({"x-amz-date", moment});
  request.headers.push_back({"x-amz-content-sha256", body_hash});
  if (!credentials.session_token.empty()) {
    request.headers.push_back({"x-amz-security-token", credentials.session_token});
  }
  const Address address = address_of(request.url);
  std::map<std::string, std::string> signed_headers{{"host", address.host}};
  for (const auto& header : request.headers) signed_headers[lower(header.name)] = header.value;
  std::string names, lines;
  for (const auto& [name, value] : signed_headers) {
    names += (names.empty() ? "" : ";") + name;
    lines += name + ":" + value + "\n";
  }
  const std::string canonical =
      request.method + "\n" + address.path + "\n\n" + lines + "\n" + names + "\n" + body_hash;
  const std::string scope =
      day + "/" + std::string(region) + "/" + std::string(service) + "/aws4_request";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + moment + "\n" + scope + "\n" + hex(sha256(canonical));
  std::string key = hmac("AWS4" + credentials.secret_key, day);
  key = hmac(key, region);
  key = hmac(key, service);
  key = hmac(key, "aws4_request");
  request.headers.push_back(
      {"Authorization", "AWS4-HMAC-SHA256 Credential=" + credentials.access_key + "/" + scope +
                            ", SignedHeaders=" + names + ", Signature=" + hex(hmac(key, to_sign))});
}

}  // namespace pillion::logs
