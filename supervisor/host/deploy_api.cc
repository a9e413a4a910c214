#include "supervisor/host/deploy_api.h"

#include <fmt/format.h>

#include <cerrno>

#include "config/parse_units.h"
#include "supervisor/host/deployment.h"
#include "supervisor/host/request_body.h"
#include "supervisor/host/supervisor.h"

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::json;

constexpr auto kTimeoutMax = std::chrono::hours(24);

Result<void> read(const Json& body, const char* key, Duration max, Duration& out) {
  const auto duration = read_duration(body, key);
  if (!duration) return fail(duration.error());
  if (!*duration) return {};
  if (**duration < Duration::zero() || **duration > max) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(max);
    return fail(fmt::format("`{}` is at most {}s", key, seconds.count()));
  }
  out = **duration;
  return {};
}

Result<void> read_ports(const Json& body, config::PortRange& out) {
  const auto found = body.find("ports");
  if (found == body.end() || found->is_null()) return {};
  const auto range = found->is_string()
                         ? config::parse_port_range(found->get_ref<const std::string&>())
                         : std::nullopt;
  if (!range) return fail("`ports` is a range of ports, such as \"18000-18999\"");
  out = *range;
  return {};
}

// The library reports values of a wrong kind by exception; this is the boundary.
Result<DeployWish> read_wish(const Json& body) {
  DeployWish wish;
  try {
    wish.file = body.value("file", "");
    wish.command = body.value("command", std::vector<std::string>());
    wish.env = body.value("env", std::map<std::string, std::string>());
  } catch (const Json::exception&) {
    return fail("`file` is a path, `command` a list of words, `env` an object of texts");
  }
  if (!wish.file.empty() && wish.file.front() != '/') return fail("`file` is an absolute path");
  if (wish.file.empty() && wish.command.empty() && wish.env.empty()) {
    return fail("say what to deploy: `file`, `command` or `env`");
  }
  if (auto done = read_ports(body, wish.ports); !done) return fail(done.error());
  const struct {
    const char* key;
    Duration max;
    Duration& out;
  } times[] = {{"timeout", kTimeoutMax, wish.timeout},
               {"min_ready", kTimeoutMax, wish.min_ready},
               {"drain_timeout", kDrainTimeoutMax, wish.drain_timeout}};
  for (const auto& one : times) {
    if (auto done = read(body, one.key, one.max, one.out); !done) return fail(done.error());
  }
  return wish;
}

// One sentence about where it is.
std::string describe(const Deployment& deployment, const core::ServiceStatus& status) {
  core::Generation next = 0, old = 0;
  std::string why;
  for (const core::ChildStatus& child : status.children) {
    if (child.role != core::Role::App) continue;
    const bool is_next =
        child.is_candidate || (deployment.phase() == DeployPhase::Retiring && !child.is_leaving);
    (is_next ? next : old) = child.generation;
    if (child.is_candidate) why = child.why;
  }
  switch (deployment.phase()) {
    case DeployPhase::None: return "no deploy is under way";
    case DeployPhase::Warming:
      return fmt::format("generation {} warms up beside generation {}{}{}", next, old,
                         why.empty() ? "" : ": ", why);
    case DeployPhase::Shifting:
      return fmt::format("generation {} is ready; new requests are directed to it", next);
    case DeployPhase::Draining:
      return fmt::format("new requests go to generation {}; generation {} ends what it has begun",
                         next, old);
    case DeployPhase::Retiring:
      return fmt::format("generation {} is the app; generation {} stops", next, old);
    case DeployPhase::RollingBack:
      return fmt::format("rolling back, generation {} stays: {}", old, deployment.failure());
  }
  return {};
}

std::string report(const Supervisor& supervisor) {
  const Deployment& deployment = supervisor.deployment();
  nlohmann::ordered_json json = {{"number", deployment.record().count},
                                 {"phase", to_string(deployment.phase())},
                                 {"text", describe(deployment, supervisor.status())},
                                 {"source", deployment.record().source}};
  if (deployment.record().last) {
    json["last"] = nlohmann::ordered_json::parse(to_json(*deployment.record().last));
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void begin(Supervisor& supervisor, const control::ApiRequest& request,
           const control::Responder& reply) {
  const auto body = parse_body(request);
  if (!body) return reply.error(400, body.error().message());
  const auto wish = read_wish(*body);
  if (!wish) return reply.error(400, wish.error().message());
  const auto number = supervisor.deploy(*wish);
  if (!number) {
    return reply.error(number.error().errno_value() == EINVAL ? 422 : 409,
                       number.error().message());
  }
  reply.json(202, fmt::format("{{\"number\":{}}}", *number));
}

}  // namespace

void add_deploy_routes(control::Api& api, Supervisor& supervisor) {
  api.add("GET", "/v1/deploy", [&supervisor](const control::ApiRequest&, control::Responder reply) {
    reply.json(200, report(supervisor));
  });
  api.add("POST", "/v1/deploy",
          [&supervisor](const control::ApiRequest& request, control::Responder reply) {
            begin(supervisor, request, reply);
          });
  api.add("POST", "/v1/deploy/cancel",
          [&supervisor](const control::ApiRequest&, control::Responder reply) {
            const auto done = supervisor.cancel_deploy();
            if (!done) return reply.error(409, done.error().message());
            reply.json(202, R"({"cancelling":true})");
          });
}

}  // namespace pillion::supervisor::host
