#include "supervisor/control/status_report.h"

#include <nlohmann/json.hpp>

namespace pillion::supervisor::control {

namespace {

using Json = nlohmann::ordered_json;

double to_seconds(Duration duration) {
  return std::chrono::duration<double>(
             std::chrono::duration_cast<std::chrono::microseconds>(duration))
      .count();
}
Duration from_seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

// The value of an enumeration by its name; the first one for a name of a later version.
template<class E, std::size_t N, class Name>
E by_name(const E (&values)[N], const std::string& name, Name name_of) {
  for (const E value : values) {
    if (name_of(value) == name) return value;
  }
  return values[0];
}
constexpr core::Role kRoles[] = {core::Role::App, core::Role::Init, core::Role::Adapter,
                                 core::Role::Ambassador, core::Role::Sidecar};

template<class T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}
template<class T>
void take(const Json& json, const char* key, std::optional<T>& value) {
  const auto found = json.find(key);
  if (found != json.end() && !found->is_null()) value = found->template get<T>();
}
template<class T>
void take(const Json& json, const char* key, T& value) {
  const auto found = json.find(key);
  if (found != json.end() && !found->is_null()) value = found->template get<T>();
}
void take(const Json& json, const char* key, Duration& value) {
  value = from_seconds(json.value(key, 0.0));
}

Json encode(const core::ExitStatus& exit) {
  Json json;
  json["text"] = exit.describe();
  json["code"] = exit.exit_code();
  if (exit.kind == core::ExitStatus::Kind::Signaled) json["signal"] = exit.value;
  if (exit.kind == core::ExitStatus::Kind::Unknown) json["unknown"] = true;
  json["oom"] = exit.is_oom_kill;
  if (!exit.detail.empty()) json["detail"] = exit.detail;
  return json;
}

core::ExitStatus decode_exit(const Json& json) {
  core::ExitStatus exit;
  exit.is_oom_kill = json.value("oom", false);
  exit.detail = json.value("detail", "");
  if (json.value("unknown", false)) return exit;
  const bool is_signal = json.contains("signal");
  exit.kind = is_signal ? core::ExitStatus::Kind::Signaled : core::ExitStatus::Kind::Exited;
  exit.value = json.at(is_signal ? "signal" : "code").get<int>();
  return exit;
}

Json encode(const core::ChildStatus& child, const ChildUsage& usage) {
  Json json;
  json["name"] = child.name;
  json["role"] = role_name(child.role);
  json["state"] = core::to_string(child.state);
  json["ready"] = child.is_ready;
  json["generation"] = child.generation;
  json["restarts"] = child.restarts;
  if (child.pid != 0) json["pid"] = child.pid;
  json["in_state_seconds"] = to_seconds(child.in_state_for);
  if (child.restart_in) json["restart_in_seconds"] = to_seconds(*child.restart_in);
  if (child.last_exit) json["last_exit"] = encode(*child.last_exit);
  json["why"] = child.why;
  if (!child.status_text.empty()) json["status"] = child.status_text;
  if (child.is_candidate) json["deploy"] = "next";
  if (child.is_leaving) json["deploy"] = "leaving";
  put(json, "memory_bytes", usage.memory_bytes);
  put(json, "memory_limit_bytes", usage.memory_limit_bytes);
  put(json, "cpu_seconds", usage.cpu_seconds);
  put(json, "cpu_limit", usage.cpu_limit);
  put(json, "processes", usage.processes);
  put(json, "memory_peak_bytes", usage.memory_peak_bytes);
  put(json, "cpu", usage.cpu);
  put(json, "throttled_share", usage.throttled_share);
  if (usage.oom_kills > 0) json["oom_kills"] = usage.oom_kills;
  if (!usage.notes.empty()) json["notes"] = usage.notes;
  return json;
}

void decode_child(const Json& json, StatusReport& report) {
  core::ChildStatus child;
  child.name = json.at("name").get<std::string>();
  child.role = by_name(kRoles, json.value("role", ""), role_name);
  child.state = by_name(core::kChildStates, json.value("state", ""),
                        [](core::ChildState state) { return core::to_string(state); });
  take(json, "ready", child.is_ready);
  take(json, "generation", child.generation);
  take(json, "restarts", child.restarts);
  take(json, "pid", child.pid);
  take(json, "in_state_seconds", child.in_state_for);
  if (json.contains("restart_in_seconds"))
    take(json, "restart_in_seconds", child.restart_in.emplace());
  if (json.contains("last_exit")) child.last_exit = decode_exit(json["last_exit"]);
  take(json, "why", child.why);
  take(json, "status", child.status_text);
  child.is_candidate = json.value("deploy", "") == "next";
  child.is_leaving = json.value("deploy", "") == "leaving";
  ChildUsage usage;
  take(json, "memory_bytes", usage.memory_bytes);
  take(json, "memory_limit_bytes", usage.memory_limit_bytes);
  take(json, "cpu_seconds", usage.cpu_seconds);
  take(json, "cpu_limit", usage.cpu_limit);
  take(json, "processes", usage.processes);
  take(json, "memory_peak_bytes", usage.memory_peak_bytes);
  take(json, "cpu", usage.cpu);
  take(json, "throttled_share", usage.throttled_share);
  take(json, "oom_kills", usage.oom_kills);
  take(json, "notes", usage.notes);
  report.service.children.push_back(std::move(child));
  report.usage.push_back(usage);
}

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The library reports by exception; this is the boundary.
template<class T, class Read>
Result<T> read(std::string_view text, const char* what, Read read_into) {
  try {
    T value;
    read_into(Json::parse(text), value);
    return value;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read the ") + what + ": " + error.what());
  }
}

}  // namespace

std::string_view role_name(core::Role role) {
  switch (role) {
    case core::Role::Init: return "init";
    case core::Role::Adapter: return "adapter";
    case core::Role::Ambassador: return "ambassador";
    case core::Role::Sidecar: return "sidecar";
    case core::Role::App: return "app";
  }
  return "?";
}

std::string to_json(const StatusReport& report) {
  Json json;
  const core::ServiceStatus& service = report.service;
  json["name"] = service.name;
  json["state"] = core::to_string(service.state);
  json["ready"] = service.is_ready;
  json["why"] = service.why;
  json["up_seconds"] = to_seconds(service.up_for);
  if (service.stop_deadline_in)
    json["stop_deadline_seconds"] = to_seconds(*service.stop_deadline_in);
  json["children"] = Json::array();
  for (std::size_t i = 0; i < service.children.size(); ++i) {
    json["children"].push_back(
        encode(service.children[i], i < report.usage.size() ? report.usage[i] : ChildUsage{}));
  }
  json["warnings"] = report.warnings;
  json["network"] = report.network;
  json["config_file"] = report.config_file;
  json["log_directory"] = report.log_directory;
  json["supervisor_pid"] = report.supervisor_pid;
  return text_of(json);
}

Result<StatusReport> parse_status_report(std::string_view text) {
  return read<StatusReport>(text, "status", [](const Json& json, StatusReport& report) {
    core::ServiceStatus& service = report.service;
    service.name = json.at("name").get<std::string>();
    service.state = by_name(core::kServiceStates, json.value("state", ""),
                            [](core::ServiceState state) { return core::to_string(state); });
    take(json, "ready", service.is_ready);
    take(json, "why", service.why);
    take(json, "up_seconds", service.up_for);
    if (json.contains("stop_deadline_seconds")) {
      take(json, "stop_deadline_seconds", service.stop_deadline_in.emplace());
    }
    for (const Json& child : json.at("children")) decode_child(child, report);
    take(json, "warnings", report.warnings);
    take(json, "network", report.network);
    take(json, "config_file", report.config_file);
    take(json, "log_directory", report.log_directory);
    take(json, "supervisor_pid", report.supervisor_pid);
  });
}

std::string to_json(const core::Receipt& receipt) {
  Json json;
  json["reason"] = receipt.reason;
  json["exit_code"] = receipt.exit_code;
  json["total_seconds"] = to_seconds(receipt.total);
  json["phases"] = Json::array();
  for (const core::ReceiptPhase& phase : receipt.phases) {
    json["phases"].push_back({{"name", phase.name}, {"seconds", to_seconds(phase.duration)}});
  }
  json["killed"] = receipt.killed;
  json["stuck"] = receipt.stuck;
  json["counts"] = Json::object();
  for (const auto& [key, count] : receipt.counts) json["counts"][key] = count;
  json["counts_by_child"] = Json::object();
  for (const auto& [child, counts] : receipt.counts_by_child) {
    for (const auto& [key, count] : counts) json["counts_by_child"][child][key] = count;
  }
  return text_of(json);
}

Result<core::Receipt> parse_receipt(std::string_view text) {
  return read<core::Receipt>(text, "receipt", [](const Json& json, core::Receipt& receipt) {
    take(json, "reason", receipt.reason);
    receipt.exit_code = json.at("exit_code").get<int>();
    take(json, "total_seconds", receipt.total);
    for (const Json& phase : json.value("phases", Json::array())) {
      receipt.phases.push_back(
          {phase.value("name", ""), from_seconds(phase.value("seconds", 0.0))});
    }
    take(json, "killed", receipt.killed);
    take(json, "stuck", receipt.stuck);
    take(json, "counts", receipt.counts);
    take(json, "counts_by_child", receipt.counts_by_child);
  });
}

}  // namespace pillion::supervisor::control
