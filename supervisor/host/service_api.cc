#include "supervisor/host/service_api.h"

#include <unistd.h>

#include "supervisor/host/request_body.h"
#include "supervisor/host/supervisor.h"
#include "supervisor/host/upgrade.h"

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::json;

}  // namespace

ServiceApi::ServiceApi(control::Api& api, Supervisor& supervisor, std::string config_file)
    : supervisor_(supervisor), config_file_(std::move(config_file)) {
  api.add("GET", "/v1", [&api](const control::ApiRequest&, control::Responder reply) {
    reply.json(200, Json{{"routes", api.routes()}}.dump());
  });
  api.add("GET", "/v1/status", [this](const control::ApiRequest&, control::Responder reply) {
    control::StatusReport report = supervisor_.report();
    report.config_file = config_file_;
    reply.json(200, control::to_json(report));
  });
  api.add("POST", "/v1/stop", [this](const control::ApiRequest& request, control::Responder reply) {
    stop(request, reply);
  });
  api.add("GET", "/v1/version", [this](const control::ApiRequest&, control::Responder reply) {
    const Json answer = {{"version", program_version()},
                         {"supervisor_pid", ::getpid()},
                         {"keeper_pid", supervisor_.keeper_pid()},
                         {"keeper_protocol", supervisor_.keeper_protocol()}};
    reply.json(200, answer.dump());
  });
  api.add("POST", "/v1/upgrade", [this](const control::ApiRequest&, control::Responder reply) {
    supervisor_.upgrade([reply](Result<void> verdict) {
      if (verdict) return reply.json(202, R"({"upgrading":true})");
      reply.error(409, verdict.error().message());
    });
  });
}

void ServiceApi::stop(const control::ApiRequest& request, const control::Responder& reply) {
  const auto body = parse_body(request);
  if (!body) return reply.error(400, body.error().message());
  const auto grace = read_duration(*body, "grace");
  if (!grace) return reply.error(400, grace.error().message());
  const bool waits = request.has_flag("wait");
  if (waits) waiting_for_end_.push_back(reply);
  // Once it is answered it must not be lost with this process.
  supervisor_.stop(*grace, "pillion stop");
  if (!waits) reply.json(202, R"({"stopping":true})");
}

void ServiceApi::finish(const core::Receipt& receipt) {
  const std::string answer = R"({"receipt":)" + control::to_json(receipt) + "}";
  for (const control::Responder& reply : waiting_for_end_) reply.json(200, answer);
  waiting_for_end_.clear();
}

}  // namespace pillion::supervisor::host
