#include "supervisor/control/api.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "runtime/result.h"
#include "runtime/text_codes.h"

namespace pillion::supervisor::control {

namespace {

using Json = nlohmann::json;

// The most parameters of one query; more are ignored.
constexpr std::size_t kParametersMax = 32;

std::optional<std::string> find(const Parameters& parameters, std::string_view name) {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return {};
}

std::string decode(std::string_view text, bool is_query) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += is_query && text[i] == '+' ? ' ' : text[i];
  }
  return out;
}

std::string_view take_segment(std::string_view& path) {
  const std::size_t slash = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, slash);
  path.remove_prefix(std::min(slash + 1, path.size()));
  return segment;
}

// The parameters when `path` fits the pattern.
std::optional<Parameters> match(std::string_view pattern, std::string_view path) {
  Parameters parameters;
  if (std::count(pattern.begin(), pattern.end(), '/') != std::count(path.begin(), path.end(), '/'))
    return {};
  while (!pattern.empty() || !path.empty()) {
    const std::string_view wanted = take_segment(pattern), given = take_segment(path);
    if (wanted.size() > 2 && wanted.front() == '{') {
      if (given.empty()) return {};
      parameters.emplace_back(wanted.substr(1, wanted.size() - 2), decode(given, false));
    } else if (wanted != given) {
      return {};
    }
  }
  return parameters;
}

}  // namespace

std::string_view ApiRequest::parameter(std::string_view name) const {
  for (const auto& [key, value] : path_parameters) {
    if (key == name) return value;
  }
  return {};
}

std::optional<std::string> ApiRequest::query(std::string_view name) const {
  return find(query_parameters, name);
}

bool ApiRequest::has_flag(std::string_view name) const {
  const auto value = query(name);
  return value && *value != "0" && *value != "false";
}

struct Responder::Pending {
  explicit Pending(HttpResponder respond_in) : respond(std::move(respond_in)) {}
  ~Pending() {
    if (respond) respond(HttpServerResponse::json(500, error_json("the request was not answered")));
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  HttpResponder respond;  // empty once it was used
};

Responder::Responder(HttpResponder respond)
    : pending_(std::make_shared<Pending>(std::move(respond))) {}

void Responder::send(HttpServerResponse response) const {
  if (!pending_->respond) return;
  std::exchange(pending_->respond, nullptr)(std::move(response));
}

void Responder::json(int status, std::string body) const {
  body += '\n';
  send(HttpServerResponse::json(status, std::move(body)));
}

void Responder::error(int status, std::string_view message) const {
  json(status, error_json(message));
}

void Responder::text(int status, std::string content_type, std::string body) const {
  send({status, {{"Content-Type", std::move(content_type)}}, std::move(body), nullptr});
}

void Responder::stream(std::string first, std::function<void(HttpStream)> on_open) const {
  send({200, {{"Content-Type", "application/x-ndjson"}}, std::move(first), std::move(on_open)});
}

void Api::add(std::string method, std::string pattern, ApiHandler handler) {
  for (const Route& route : routes_) {
    PILLION_ASSERT(route.method != method || route.pattern != pattern);
  }
  routes_.push_back({std::move(method), std::move(pattern), std::move(handler)});
}

void Api::handle(const HttpServerRequest& request, HttpResponder respond) const {
  const Responder responder(std::move(respond));
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : routes_) {
    auto parameters = match(route.pattern, request.path);
    if (!parameters) continue;
    if (route.method != method) {
      allowed += (allowed.empty() ? "" : ", ") + route.method;
      continue;
    }
    route.handler({request.method, request.path, request.body, std::move(*parameters),
                   parse_query(request.query)},
                  responder);
    return;
  }
  if (!allowed.empty()) return responder.error(405, request.path + " takes " + allowed);
  responder.error(404, "there is no " + request.path + "; docs/openapi.yaml lists the paths");
}

std::vector<std::string> Api::routes() const {
  std::vector<std::string> all;
  for (const Route& route : routes_) all.push_back(route.method + " " + route.pattern);
  std::sort(all.begin(), all.end());
  return all;
}

std::string error_json(std::string_view message) {
  return Json{{"error", message}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<std::string> parse_error(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {};
  const auto error = json.find("error");
  if (error == json.end() || !error->is_string()) return {};
  return error->get<std::string>();
}

std::string decode_query_text(std::string_view text) { return decode(text, true); }

Parameters parse_query(std::string_view query) {
  Parameters parameters;
  while (!query.empty() && parameters.size() < kParametersMax) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
    parameters.emplace_back(decode(pair.substr(0, equals), true), decode(value, true));
  }
  return parameters;
}

}  // namespace pillion::supervisor::control
