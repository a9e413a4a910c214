#include "adapters/metrics/make_sources.h"

#include <utility>

#include "adapters/metrics/formats/exposition_parser.h"
#include "adapters/metrics/formats/haproxy_csv.h"
#include "adapters/metrics/formats/json_fields.h"
#include "adapters/metrics/formats/nginx_status.h"
#include "adapters/metrics/formats/text_lines.h"
#include "adapters/metrics/poll/haproxy_socket.h"
#include "adapters/metrics/poll/postgresql.h"
#include "adapters/metrics/poll/redis.h"
#include "runtime/fd.h"
#include "runtime/text_codes.h"

namespace pillion::metrics {
namespace {

using Parse = std::function<Result<Families>(std::string_view)>;

constexpr const char* kAcceptMetrics =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

HttpQuestion question_of(const config::MetricsInput& input, const config::MetricsTarget& target,
                         HttpClient::Request base, Parse parse) {
  base.url = target.url;
  base.response_bytes_max = input.max_body.value;
  if (target.socket) base.unix_socket_path = *target.socket;
  for (const auto& [name, value] : target.headers) base.headers.push_back({name, value});
  HttpQuestion question;
  question.request = [base = std::move(base), tls = target.tls,
                      auth = target.auth]() -> Result<HttpClient::Request> {
    HttpClient::Request request = base;
    if (auto added = add_access(request, tls, auth); !added) return fail(added.error());
    return request;
  };
  question.parse = std::move(parse);
  return question;
}

Result<HttpQuestion> make_question(const config::MetricsInput& input) {
  HttpClient::Request base;
  if (input.json) {
    base.headers.push_back({"Accept", "application/json"});
    return question_of(
        input, *input.json, std::move(base),
        [config = *input.json](std::string_view body) { return parse_json(body, config); });
  }
  if (input.jolokia) {
    base.method = "POST";
    base.body = jolokia_request(*input.jolokia);
    base.headers.push_back({"Content-Type", "application/json"});
    return question_of(
        input, *input.jolokia, std::move(base),
        [config = *input.jolokia](std::string_view body) { return parse_jolokia(body, config); });
  }
  if (input.text) {
    auto lines = TextLines::compile(*input.text);
    if (!lines) return fail(lines.error());
    // Shared because a std::function is copied; still one thread at a time.
    auto shared = std::make_shared<TextLines>(std::move(*lines));
    return question_of(input, *input.text, std::move(base),
                       [shared](std::string_view body) { return shared->parse(body); });
  }
  if (input.nginx) return question_of(input, *input.nginx, std::move(base), parse_nginx_status);
  if (input.haproxy) return question_of(input, *input.haproxy, std::move(base), parse_haproxy_csv);
  base.headers.push_back({"Accept", kAcceptMetrics});
  return question_of(input, *input.prometheus, std::move(base),
                     [config = *input.prometheus](std::string_view body) {
                       return parse_exposition(body, config);
                     });
}

Result<std::unique_ptr<Asker>> make_asker(Workshop& workshop, const config::MetricsInput& input) {
  if (input.redis) {
    return make_blocking_asker(workshop.loop, redis_work(*input.redis, input.max_body.value));
  }
  if (input.postgresql) {
    return make_blocking_asker(workshop.loop, postgresql_work(*input.postgresql));
  }
  if (input.haproxy && input.haproxy->url.empty()) {
    return make_blocking_asker(workshop.loop,
                               haproxy_work(*input.haproxy->socket, input.max_body.value));
  }
  auto question = make_question(input);
  if (!question) return fail(question.error());
  return make_http_asker(workshop.loop, workshop.client, std::move(*question));
}

}  // namespace

Result<std::string> read_secret(const std::string& path) {
  auto text = read_file(path, 64u << 10);
  if (!text) return text;
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  return text;
}

Result<void> add_access(HttpClient::Request& request, const config::LogTls& tls,
                        const config::LogAuth& auth) {
  request.tls.ca_file = tls.ca_file.value_or("");
  request.tls.certificate_file = tls.certificate_file.value_or("");
  request.tls.key_file = tls.key_file.value_or("");
  request.tls.is_peer_verified = tls.verify;
  const auto add = [&](const std::optional<std::string>& path, auto make_value) -> Result<void> {
    if (!path) return {};
    auto secret = read_secret(*path);
    if (!secret) return fail(secret.error());
    request.headers.push_back({"Authorization", make_value(*secret)});
    return {};
  };
  auto added = add(auth.password_file, [&](const std::string& secret) {
    return "Basic " + base64(auth.user.value_or("") + ":" + secret);
  });
  if (added) {
    added = add(auth.api_key_file, [](const std::string& secret) { return "ApiKey " + secret; });
  }
  if (added) {
    added = add(auth.bearer_file, [](const std::string& secret) { return "Bearer " + secret; });
  }
  return added;
}

std::vector<std::string> find_problems(const config::MetricsConfig& config) {
  std::vector<std::string> problems;
  for (const auto& input : config.inputs) {
    if (input.text) {
      const auto lines = TextLines::compile(*input.text);
      if (!lines) problems.push_back(input.name + ": " + lines.error().message());
    }
    if (!input.json) continue;
    for (const auto& metric : input.json->metrics) {
      const std::string problem = find_path_problem(metric.path);
      if (!problem.empty()) problems.push_back(input.name + ": " + problem);
    }
  }
  return problems;
}

Result<std::unique_ptr<Source>> make_source(Workshop& workshop, const config::MetricsConfig& config,
                                            std::size_t index, StatsdServer::Sockets sockets) {
  const config::MetricsInput& input = config.inputs[index];
  Naming naming = naming_of(config, input);
  if (input.statsd) {
    return std::make_unique<StatsdSource>(workshop.loop, workshop.clock, input, std::move(naming),
                                          workshop.budget, std::move(sockets));
  }
  auto asker = make_asker(workshop, input);
  if (!asker) return fail(asker.error().wrap(input.name));
  auto source = std::make_unique<PolledSource>(
      workshop.loop, workshop.clock, input, std::move(naming), workshop.budget, std::move(*asker));
  source->start();
  return source;
}

}  // namespace pillion::metrics
