#include "supervisor/control/reload_report.h"

#include <nlohmann/json.hpp>

namespace pillion::supervisor::control {
namespace {

using Json = nlohmann::ordered_json;

Json encode(const ReloadedChild& child) {
  Json json = {{"name", child.name}, {"role", child.role}, {"change", child.change}};
  if (child.usually_ready_after) {
    json["usually_ready_after_seconds"] =
        std::chrono::duration<double>(
            std::chrono::duration_cast<std::chrono::microseconds>(*child.usually_ready_after))
            .count();
  }
  return json;
}

ReloadedChild decode_child(const Json& json) {
  ReloadedChild child{json.at("name").get<std::string>(), json.value("role", ""),
                      json.at("change").get<std::string>(), std::nullopt};
  const auto seconds = json.find("usually_ready_after_seconds");
  if (seconds != json.end()) {
    child.usually_ready_after =
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds->get<double>()));
  }
  return child;
}

Json encode(const config::Difference& difference) {
  Json json = {{"key", difference.key}};
  if (!difference.child.empty()) json["child"] = difference.child;
  if (!difference.before.empty()) json["before"] = difference.before;
  if (!difference.after.empty()) json["after"] = difference.after;
  return json;
}

}  // namespace

std::string to_json(const ReloadReport& report) {
  Json json = {{"service", report.service},
               {"file", report.file},
               {"dry_run", report.is_dry_run},
               {"changed", report.is_changed},
               {"restart_needed", report.restart_needed},
               {"children", Json::array()},
               {"differences", Json::array()}};
  for (const ReloadedChild& child : report.children) json["children"].push_back(encode(child));
  for (const auto& one : report.differences) json["differences"].push_back(encode(one));
  if (!report.warnings.empty()) json["warnings"] = report.warnings;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<ReloadReport> parse_reload_report(std::string_view text) {
  // The library reports by exception; this is the boundary.
  try {
    const Json json = Json::parse(text);
    ReloadReport report;
    report.service = json.at("service").get<std::string>();
    report.file = json.value("file", "");
    report.is_dry_run = json.value("dry_run", false);
    report.is_changed = json.value("changed", false);
    report.restart_needed = json.value("restart_needed", std::vector<std::string>());
    for (const Json& child : json.at("children")) report.children.push_back(decode_child(child));
    for (const Json& one : json.at("differences")) {
      report.differences.push_back({one.value("child", ""), one.at("key").get<std::string>(),
                                    one.value("before", ""), one.value("after", "")});
    }
    report.warnings = json.value("warnings", "");
    return report;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read the answer: ") + error.what());
  }
}

}  // namespace pillion::supervisor::control
