#include "supervisor/host/usage_api.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "supervisor/host/supervisor.h"

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::ordered_json;

template<class T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}

Json encode(const usage::Pressure& pressure) {
  return {{"some_percent_10s", pressure.some_average_10},
          {"full_percent_10s", pressure.full_average_10}};
}

void put_counters(Json& json, const usage::Counters& counters) {
  if (counters.cpu_microseconds) {
    json["cpu_seconds"] = static_cast<double>(*counters.cpu_microseconds) / 1e6;
  }
  put(json, "memory_bytes", counters.memory_bytes);
  put(json, "working_set_bytes", counters.working_set_bytes);
  put(json, "memory_peak_bytes", counters.memory_peak_bytes);
  put(json, "swap_bytes", counters.swap_bytes);
  put(json, "processes", counters.pids);
  if (counters.io) {
    json["io_read_bytes"] = counters.io->read_bytes;
    json["io_written_bytes"] = counters.io->write_bytes;
  }
  if (counters.cpu_pressure) json["pressure"]["cpu"] = encode(*counters.cpu_pressure);
  if (counters.memory_pressure) json["pressure"]["memory"] = encode(*counters.memory_pressure);
  if (counters.io_pressure) json["pressure"]["io"] = encode(*counters.io_pressure);
}

Json encode(const ChildFacts& facts) {
  const core::ChildStatus& status = facts.status;
  Json json = {{"name", status.name},
               {"role", config::name_of(facts.config.role)},
               {"state", core::to_string(status.state)},
               {"ready", status.is_ready},
               {"generation", status.generation},
               {"restarts", status.restarts},
               {"oom_kills", facts.oom_kills.main + facts.oom_kills.others}};
  const config::Limits& limits = facts.config.limits;
  if (limits.cpu) json["cpu_limit"] = limits.cpu->value / 1000.0;
  if (limits.memory) json["memory_limit_bytes"] = limits.memory->value;
  put(json, "processes_limit", limits.pids);
  if (!facts.use) return json;
  put(json, "cpu", facts.use->cpu);
  put(json, "throttled_share", facts.use->throttled_share);
  put_counters(json, facts.use->counters);
  return json;
}

usage::GivenResources given_of(const config::Child& child) {
  usage::GivenResources given;
  if (child.requests.cpu) given.cpu_request_millis = child.requests.cpu->value;
  if (child.limits.cpu) given.cpu_limit_millis = child.limits.cpu->value;
  if (child.requests.memory) given.memory_request_bytes = child.requests.memory->value;
  if (child.limits.memory) given.memory_limit_bytes = child.limits.memory->value;
  return given;
}

std::string usage_json(const ServiceFacts& facts) {
  Json json = {{"service", facts.status.name},
               {"state", core::to_string(facts.status.state)},
               {"ready", facts.status.is_ready},
               {"up_seconds", std::chrono::duration<double>(facts.status.up_for).count()},
               {"children", Json::array()}};
  for (const ChildFacts& child : facts.children) json["children"].push_back(encode(child));
  return json.dump();
}

}  // namespace

std::vector<usage::Recommendation> recommend_for(const config::Service& service,
                                                 const usage::History& history,
                                                 const std::string& only) {
  std::vector<usage::Recommendation> all;
  for (const config::Child& child : service.children) {
    // An init task has done its work before there is much to see.
    if (!only.empty() ? child.name != only : child.role == config::Role::Init) continue;
    const bool is_app = child.role == config::Role::App;
    const std::string table =
        is_app ? "app" : fmt::format("{}.{}", config::name_of(child.role), child.name);
    const auto found = history.find(child.name);
    all.push_back(usage::recommend(child.name, table, given_of(child),
                                   found == history.end() ? usage::ChildHistory{} : found->second));
  }
  return all;
}

UsageApi::UsageApi(control::Api& api, Supervisor& supervisor) {
  api.add("GET", "/v1/usage", [&supervisor](const control::ApiRequest&, control::Responder reply) {
    reply.json(200, usage_json(supervisor.facts()));
  });
  api.add("GET", "/v1/recommend",
          [&supervisor](const control::ApiRequest& request, control::Responder reply) {
            const config::Service& service = supervisor.resources().service();
            const std::string child = request.query("child").value_or("");
            if (!child.empty() && service.find(child) == nullptr) {
              return reply.error(404, fmt::format("{} has no child \"{}\"", service.name(), child));
            }
            const auto& history = supervisor.resources().watch().history();
            reply.json(200, usage::to_json(recommend_for(service, history, child)));
          });
}

}  // namespace pillion::supervisor::host
