#include "ambassadors/secrets/vault_proxy.h"

#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/json_text.h"
#include "runtime/log.h"
#include "runtime/text_codes.h"

namespace pillion::secrets {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// Names listed in any Connection field.
bool is_nominated(const HttpHeaders& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (!equals_ignoring_case(key, "Connection")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      std::string_view element = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
      const auto first = element.find_first_not_of(" \t");
      if (first == std::string_view::npos) continue;
      element = element.substr(first, element.find_last_not_of(" \t") - first + 1);
      if (equals_ignoring_case(element, name)) return true;
    }
  }
  return false;
}

// RFC 9110 §7.6.1, and framing that the next sender writes anew.
bool is_hop_by_hop(std::string_view name) {
  constexpr std::string_view kNames[] = {"Connection",
                                         "Keep-Alive",
                                         "Proxy-Connection",
                                         "Proxy-Authorization",
                                         "Proxy-Authenticate",
                                         "TE",
                                         "Trailer",
                                         "Transfer-Encoding",
                                         "Upgrade",
                                         "Content-Length"};
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](std::string_view known) { return equals_ignoring_case(known, name); });
}

// Empty when the path is ambiguous.
std::string decoded_path(const std::string& path) {
  std::string decoded;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%') {
      const int high = i + 2 < path.size() ? hex_value(path[i + 1]) : -1;
      const int low = i + 2 < path.size() ? hex_value(path[i + 2]) : -1;
      if (high < 0 || low < 0) return {};
      c = static_cast<char>(high * 16 + low);
      if (c == '/' || c == '%') return {};
      i += 2;
    }
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f || c == '\\') return {};
    if (c == '/' && decoded.ends_with('/')) continue;
    decoded += c;
  }
  const std::string ended = decoded + "/";
  if (ended.find("/./") != std::string::npos || ended.find("/../") != std::string::npos) return {};
  return decoded;
}

std::string error_body(const std::string& why) {
  std::string body = "{\"errors\":[";
  append_json_string(body, "pillion-secrets: " + why);
  return body + "]}\n";
}

int status_for(const Error& error) {
  if (error.errno_value() == EAGAIN) return 503;
  return error.errno_value() == ETIMEDOUT ? 504 : 502;
}

// What makes two requests the same question. Unshared: everything that is no plain read.
std::string sharing_key(const HttpServerRequest& request, const HttpClient::Headers& headers) {
  if (request.method != "GET" || !request.body.empty()) return {};
  std::string key = request.path + "?" + request.query;
  for (const auto& header : headers) key += "\n" + header.name + ":" + header.value;
  return key;
}

}  // namespace

bool is_path_refused(const std::string& path) {
  std::string plain = decoded_path(path);
  if (!plain.starts_with("/v1/")) return true;
  while (plain.ends_with('/')) plain.pop_back();
  // A namespace may stand before it in the path.
  return plain.ends_with("/auth/token/revoke-self");
}

HttpClient::Headers forwarded_headers(const HttpHeaders& headers) {
  HttpClient::Headers forwarded;
  for (const auto& [name, value] : headers) {
    const bool is_ours = equals_ignoring_case(name, "Host") ||
                         equals_ignoring_case(name, "X-Vault-Token") ||
                         equals_ignoring_case(name, "Expect");
    // Authorization may carry a token too, as a bearer.
    const bool is_bearer = equals_ignoring_case(name, "Authorization");
    if (is_ours || is_bearer || is_hop_by_hop(name) || is_nominated(headers, name)) continue;
    forwarded.push_back({name, value});
  }
  return forwarded;
}

VaultProxy::VaultProxy(const config::VaultProxy& config, Registry& registry, IssuedValues& issued)
    : config_(config),
      registry_(registry),
      issued_(issued),
      coalesced_(registry.counter("pillion_secrets_proxy_coalesced_total",
                                  "Requests of the app answered by another one in flight.")) {}

void VaultProxy::set_source(VaultSource* source) {
  auto ended = std::move(exchanges_);
  exchanges_.clear();
  shared_.clear();
  source_ = source;
  for (auto& [number, exchange] : ended) {
    answer(exchange, HttpServerResponse::json(503, error_body("reloading, try again")));
  }
}

void VaultProxy::refuse(const HttpResponder& respond, int status, const std::string& why) {
  count(status);
  respond(HttpServerResponse::json(status, error_body(why)));
}

void VaultProxy::handle(const HttpServerRequest& request, HttpResponder respond) {
  if (!source_) return refuse(respond, 503, "no Vault is configured");
  if (config_.require_request_header && find_header(request.headers, "X-Vault-Request") != "true") {
    return refuse(respond, 412, "the header X-Vault-Request: true is required");
  }
  if (is_path_refused(request.path)) {
    return refuse(respond, 403, "this path is not for the app: " + request.path);
  }
  if (!source_->session().has_token()) {
    const std::string& problem = source_->session().problem();
    return refuse(respond, 503, problem.empty() ? "not logged in to Vault yet" : problem);
  }
  forward(request, std::move(respond));
}

void VaultProxy::forward(const HttpServerRequest& request, HttpResponder respond) {
  HttpClient::Request sent;
  sent.headers = forwarded_headers(request.headers);
  const std::string key = sharing_key(request, sent.headers);
  if (const auto found = key.empty() ? shared_.end() : shared_.find(key); found != shared_.end()) {
    coalesced_.add();
    exchanges_.at(found->second).responders.push_back(std::move(respond));
    return;
  }
  const auto has = [&](std::string_view name) {
    return !find_header(request.headers, name).empty();
  };
  const SecretText token = source_->session().token();
  sent.method = request.method;
  sent.body = request.body;
  sent.response_bytes_max = kProxyBodyBytesMax;
  sent.headers.push_back({"X-Vault-Token", token.reveal()});
  if (!has("X-Vault-Request")) sent.headers.push_back({"X-Vault-Request", "true"});
  const auto& name_space = source_->api().config().namespace_name;
  if (name_space && !has("X-Vault-Namespace")) {
    sent.headers.push_back({"X-Vault-Namespace", *name_space});
  }
  const std::string target =
      request.query.empty() ? request.path : request.path + "?" + request.query;
  const std::uint64_t number = next_number_++;
  Exchange& exchange = exchanges_[number];
  exchange.responders.push_back(std::move(respond));
  exchange.path = request.path;
  if (!key.empty()) shared_[key] = number;
  exchange.call = source_->api().forward(
      std::move(sent), target, [this, number, token](Result<HttpClient::Response> result) {
        on_done(number, token, std::move(result));
      });
}

void VaultProxy::on_done(std::uint64_t number, const SecretText& token,
                         Result<HttpClient::Response> result) {
  const auto found = exchanges_.find(number);
  if (found == exchanges_.end()) return;
  Exchange exchange = std::move(found->second);
  exchanges_.erase(found);
  std::erase_if(shared_, [&](const auto& entry) { return entry.second == number; });
  if (!result) {
    const int kind = result.error().errno_value();
    if (kind != last_failure_) {  // said once, not for every request of an outage
      log::warn("cannot forward the app's request: {}", result.error().message());
    }
    last_failure_ = kind;
    const int status = status_for(result.error());
    return answer(exchange, HttpServerResponse::json(status, error_body(result.error().message())));
  }
  last_failure_ = 0;
  // Perhaps the token was revoked; found out once, and replaced for the next request.
  if (result->status == 403) static_cast<void>(source_->session().doubt(token));
  HttpServerResponse response;
  response.status = result->status;
  HttpHeaders received;
  for (auto& header : result->headers) received.emplace_back(header.name, header.value);
  for (const auto& [name, value] : received) {
    if (is_hop_by_hop(name) || is_nominated(received, name) || equals_ignoring_case(name, "Date")) {
      continue;
    }
    response.headers.emplace_back(name, value);
  }
  response.body = std::move(result->body);
  issued_.issue_to_app(exchange.path, response.body);
  answer(exchange, response);
  wipe(response.body);
}

void VaultProxy::answer(Exchange& exchange, const HttpServerResponse& response) {
  for (const auto& respond : exchange.responders) {
    count(response.status);
    respond(response);
  }
}

void VaultProxy::count(int status) {
  registry_
      .counter("pillion_secrets_proxy_requests_total",
               "The app's requests on the local Vault address, by status code.",
               {{"code", std::to_string(status)}})
      .add();
}

}  // namespace pillion::secrets
