#include "supervisor/usage/history.h"

#include <nlohmann/json.hpp>

namespace pillion::supervisor::usage {
namespace {

using Json = nlohmann::json;

Json encode(const Distribution& distribution) {
  Json buckets = Json::object();
  for (const auto& [bucket, count] : distribution.buckets()) {
    buckets[std::to_string(bucket)] = count;
  }
  return {{"max", distribution.max()}, {"buckets", buckets}};
}

Distribution decode(const Json& json) {
  std::map<int, std::uint64_t> buckets;
  for (const auto& [bucket, count] : json.at("buckets").items()) {
    buckets[std::atoi(bucket.c_str())] = count.get<std::uint64_t>();
  }
  return Distribution::from(std::move(buckets), json.at("max").get<double>());
}

}  // namespace

std::string to_json(const History& history) {
  Json children = Json::object();
  for (const auto& [name, child] : history) {
    children[name] = {{"cpu_millis", encode(child.cpu_millis)},
                      {"working_set_bytes", encode(child.working_set_bytes)},
                      {"memory_peak_bytes", child.memory_peak_bytes},
                      {"processes_max", child.processes_max},
                      {"observed_seconds", child.observed_seconds},
                      {"first_seen", child.first_seen},
                      {"last_seen", child.last_seen},
                      {"generations", child.generations},
                      {"oom_kills", child.oom_kills}};
  }
  return Json{{"version", 1}, {"children", children}}.dump();
}

// The library reports by exception; this is the boundary.
Result<History> parse_history(std::string_view text) {
  try {
    History history;
    const Json json = Json::parse(text);
    for (const auto& [name, item] : json.at("children").items()) {
      ChildHistory& child = history[name];
      child.cpu_millis = decode(item.at("cpu_millis"));
      child.working_set_bytes = decode(item.at("working_set_bytes"));
      child.memory_peak_bytes = item.at("memory_peak_bytes").get<std::uint64_t>();
      child.processes_max = item.at("processes_max").get<std::uint64_t>();
      child.observed_seconds = item.at("observed_seconds").get<double>();
      child.first_seen = item.at("first_seen").get<std::int64_t>();
      child.last_seen = item.at("last_seen").get<std::int64_t>();
      child.generations = item.at("generations").get<std::uint64_t>();
      child.oom_kills = item.at("oom_kills").get<std::uint64_t>();
    }
    return history;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read the history of use: ") + error.what());
  }
}

}  // namespace pillion::supervisor::usage
