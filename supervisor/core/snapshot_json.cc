// The snapshot as JSON text, for the state file. Times are nanoseconds since boot. Unknown keys are
// skipped and missing ones keep their defaults, so that neighbouring versions can read each other.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "supervisor/core/snapshot.h"

namespace pillion::supervisor::core {

namespace {

using Json = nlohmann::json;

Json encode(Duration duration) { return duration.count(); }
Json encode(const ExitStatus& exit) {
  return {{"kind", static_cast<int>(exit.kind)},
          {"value", exit.value},
          {"oom", exit.is_oom_kill},
          {"detail", exit.detail}};
}
Json encode(const ProbeSnapshot& probe);
template<class T>
Json encode(const T& value) requires(!std::is_enum_v<T>) {
  return value;
}
template<class T>
Json encode(T value) requires std::is_enum_v<T> {
  return static_cast<int>(value);
}
template<class T>
Json encode(const std::optional<T>& value) {
  return value ? encode(*value) : Json();
}
Json encode(const std::vector<Duration>& durations) {
  Json array = Json::array();
  for (const Duration duration : durations) array.push_back(duration.count());
  return array;
}

void decode(const Json& json, Duration& out) { out = Duration(json.get<Duration::rep>()); }
void decode(const Json& json, ExitStatus& out) {
  out.kind = static_cast<ExitStatus::Kind>(std::clamp(json.at("kind").get<int>(), 0, 2));
  out.value = json.at("value").get<int>();
  out.is_oom_kill = json.at("oom").get<bool>();
  out.detail = json.value("detail", "");
}
void decode(const Json& json, ProbeSnapshot& out);
void decode(const Json& json, std::vector<Duration>& out) {
  for (const Json& item : json) out.emplace_back(item.get<Duration::rep>());
}
template<class T>
void decode(const Json& json, T& out) {
  out = json.get<T>();
}
template<class T>
void decode(const Json& json, std::optional<T>& out) {
  if (json.is_null()) return;
  out.emplace();
  decode(json, *out);
}

// Writes or reads every field by one list, so that neither can forget one.
struct Writer {
  Json& json;
  template<class T>
  void operator()(const char* key, const T& value) {
    json[key] = encode(value);
  }
};
struct Reader {
  const Json& json;
  template<class T>
  void operator()(const char* key, T& value) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(found->template get<int>());
    } else {
      decode(*found, value);
    }
  }
};

template<class Visitor, class Probe>
void visit_probe(Visitor visit, Probe& probe) {
  visit("verdict", probe.verdict);
  visit("successes", probe.successes);
  visit("failures", probe.failures);
  visit("last_sequence", probe.last_sequence);
  visit("next_at", probe.next_at);
  visit("last_detail", probe.last_detail);
}

Json encode(const ProbeSnapshot& probe) {
  Json json;
  visit_probe(Writer{json}, probe);
  return json;
}
void decode(const Json& json, ProbeSnapshot& out) { visit_probe(Reader{json}, out); }

template<class Visitor, class Child>
void visit_child(Visitor visit, Child& child) {
  visit("name", child.name);
  visit("state", child.state);
  visit("desired", child.desired);
  visit("generation", child.generation);
  visit("entered_state_at", child.entered_state_at);
  visit("state_deadline", child.state_deadline);
  visit("pid", child.pid);
  visit("exec_at", child.exec_at);
  visit("is_post_start_done", child.is_post_start_done);
  visit("is_gate_seen", child.is_gate_seen);
  visit("has_announced_stop", child.has_announced_stop);
  visit("is_main_gone", child.is_main_gone);
  visit("has_leftovers", child.has_leftovers);
  visit("is_readiness_good", child.is_readiness_good);
  visit("is_hook_done", child.is_hook_done);
  visit("is_replaced_by_wish", child.is_replaced_by_wish);
  visit("exit", child.exit);
  visit("replace_reason", child.replace_reason);
  visit("spawn_error", child.spawn_error);
  visit("spawn_exit_code", child.spawn_exit_code);
  visit("has_started_once", child.has_started_once);
  visit("restarts", child.restarts);
  visit("failures_in_a_row", child.failures_in_a_row);
  visit("recent_restarts", child.recent_restarts);
  visit("last_exit", child.last_exit);
  visit("cannot_start_code", child.cannot_start_code);
  visit("rest_reason", child.rest_reason);
  visit("failure_reason", child.failure_reason);
  visit("status_text", child.status_text);
  visit("receipt", child.receipt);
  visit("was_killed", child.was_killed);
  visit("starts_afresh", child.starts_afresh);
  visit("membership", child.membership);
  visit("is_outdated", child.is_outdated);
  visit("role", child.role);
  visit("stop_signal", child.stop_signal);
  visit("dependencies", child.dependencies);
  visit("startup", child.startup);
  visit("readiness", child.readiness);
  visit("liveness", child.liveness);
}

template<class Visitor, class Stop>
void visit_stop(Visitor visit, Stop& stop) {
  visit("reason", stop.reason);
  visit("requested_at", stop.requested_at);
  visit("deadline", stop.deadline);
  visit("requests", stop.requests);
  visit("are_delays_skipped", stop.are_delays_skipped);
  visit("forced_exit_code", stop.forced_exit_code);
  visit("app_signalled_at", stop.app_signalled_at);
  visit("app_gone_at", stop.app_gone_at);
  visit("all_gone_at", stop.all_gone_at);
  visit("restart_at", stop.restart_at);
  visit("keeps_failures", stop.keeps_failures);
}

template<class Visitor, class Deploy>
void visit_deploy(Visitor visit, Deploy& deploy) {
  visit("phase", deploy.phase);
  visit("current", deploy.current);
  visit("candidate", deploy.candidate);
  visit("deadline", deploy.deadline);
  visit("min_ready", deploy.min_ready);
  visit("has_asked_to_shift", deploy.has_asked_to_shift);
  visit("reason", deploy.reason);
}

template<class Visitor, class Service>
void visit_service(Visitor visit, Service& service) {
  visit("version", service.version);
  visit("boot_id", service.boot_id);
  visit("last_signal", service.last_signal);
  visit("state", service.state);
  visit("service_started_at", service.service_started_at);
  visit("entered_state_at", service.entered_state_at);
  visit("is_capture_live", service.is_capture_live);
  visit("has_app_started", service.has_app_started);
  visit("is_reload_under_way", service.is_reload_under_way);
}

template<class T>
bool holds(T value, std::size_t count) {
  return static_cast<int>(value) >= 0 && static_cast<std::size_t>(value) < count;
}

bool is_in_range(const ChildSnapshot& child, std::size_t children) {
  const auto is_probe_fine = [](const std::optional<ProbeSnapshot>& probe) {
    return !probe || holds(probe->verdict, 3);
  };
  const auto& on = child.dependencies;
  return holds(child.state, std::size(kChildStates)) && holds(child.desired, 2) &&
         holds(child.rest_reason, 6) && holds(child.membership, 4) && holds(child.role, 5) &&
         is_probe_fine(child.startup) && is_probe_fine(child.readiness) &&
         is_probe_fine(child.liveness) &&
         std::all_of(on.begin(), on.end(), [&](ChildId id) { return id < children; });
}

bool is_in_range(const Snapshot& snapshot) {
  const std::size_t children = snapshot.children.size();
  if (!holds(snapshot.state, std::size(kServiceStates))) return false;
  if (snapshot.deploy) {
    const DeploySnapshot& deploy = *snapshot.deploy;
    if (!holds(deploy.phase, 4) || deploy.current >= children || deploy.candidate >= children) {
      return false;
    }
  }
  return std::all_of(snapshot.children.begin(), snapshot.children.end(),
                     [&](const ChildSnapshot& child) { return is_in_range(child, children); });
}

}  // namespace

std::string to_json(const Snapshot& snapshot) {
  Json json;
  visit_service(Writer{json}, snapshot);
  json["stop"] = nullptr;
  if (snapshot.stop) visit_stop(Writer{json["stop"]}, *snapshot.stop);
  json["deploy"] = nullptr;
  if (snapshot.deploy) visit_deploy(Writer{json["deploy"]}, *snapshot.deploy);
  json["children"] = Json::array();
  for (const ChildSnapshot& child : snapshot.children) {
    json["children"].emplace_back();
    visit_child(Writer{json["children"].back()}, child);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Snapshot> parse_snapshot(std::string_view text) {
  // The library reports by exception; this is the boundary.
  try {
    const Json json = Json::parse(text);
    Snapshot snapshot;
    visit_service(Reader{json}, snapshot);
    if (snapshot.version != Snapshot::kVersion) {
      return fail("cannot read the state: it is of version " + std::to_string(snapshot.version));
    }
    if (json.contains("stop") && !json["stop"].is_null()) {
      visit_stop(Reader{json["stop"]}, snapshot.stop.emplace());
    }
    if (json.contains("deploy") && !json["deploy"].is_null()) {
      visit_deploy(Reader{json["deploy"]}, snapshot.deploy.emplace());
    }
    for (const Json& child : json.at("children")) {
      visit_child(Reader{child}, snapshot.children.emplace_back());
    }
    if (!is_in_range(snapshot)) return fail("cannot read the state: a value is out of range");
    return snapshot;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read the state: ") + error.what());
  }
}

}  // namespace pillion::supervisor::core
