#include "supervisor/usage/oom_report.h"

#include <fmt/format.h>

#include "config/units.h"
#include "runtime/fd.h"
#include "supervisor/usage/kernel_text.h"
#include "supervisor/usage/quantity_text.h"

namespace pillion::supervisor::usage {
namespace {

std::string limit_text(const OomReport& report) {
  return report.limit_bytes ? " = " + to_string(config::Bytes{*report.limit_bytes}) : std::string();
}

std::string cause_of(const OomReport& report) {
  switch (report.scope) {
    case OomScope::Child:
      return fmt::format("limits.memory{} of this child was reached", limit_text(report));
    case OomScope::Service: return "the memory limit of the service's own group was reached";
    case OomScope::Ancestor:
      return fmt::format("the memory limit of {}, above the service, was reached", report.group);
    case OomScope::Host: return "the machine ran out of memory";
    case OomScope::Unknown: break;
  }
  return "memory ran out, whose limit it was is not known";
}

std::string victim_of(const OomReport& report) {
  std::string text = "the kernel killed ";
  if (!report.victim) {
    return text + (report.is_main ? "the main process" : "another of its processes");
  }
  const char* role = report.is_victim_main ? ", the main process"
                     : report.is_main      ? ", and with it the whole child (oom_group)"
                                           : ", not the main process";
  text += fmt::format("{} (pid {}, {})", report.victim->name, report.victim->pid,
                      describe_bytes(static_cast<double>(report.victim->bytes)));
  return text + role;
}

std::string advice_of(const OomReport& report) {
  switch (report.scope) {
    case OomScope::Child:
      return fmt::format("raise limits.memory{}, `pillion recommend {}` says how far",
                         report.limit_bytes
                             ? " from " + to_string(config::Bytes{*report.limit_bytes})
                             : std::string(),
                         report.service);
    case OomScope::Service:
    case OomScope::Ancestor: return "raise that limit, or limit the children below it";
    case OomScope::Host: return "limit who uses most, or add memory";
    case OomScope::Unknown: break;
  }
  return {};
}

}  // namespace

std::string_view to_string(OomScope scope) {
  switch (scope) {
    case OomScope::Child: return "child";
    case OomScope::Service: return "service";
    case OomScope::Ancestor: return "ancestor";
    case OomScope::Host: return "host";
    case OomScope::Unknown: break;
  }
  return "unknown";
}

std::string OomReport::describe() const {
  std::string text = cause_of(*this);
  if (peak_bytes && *peak_bytes > 0) {
    text += fmt::format(" (peak {})", describe_bytes(static_cast<double>(*peak_bytes)));
  }
  text += ": " + victim_of(*this);
  if (kills > 1) text += fmt::format(", {} processes in all", kills);
  std::string others;
  for (const ProcessUse& each : top) {
    if (victim && each.pid == victim->pid) continue;
    others += fmt::format("{}{} {}", others.empty() ? "" : ", ", each.name,
                          describe_bytes(static_cast<double>(each.bytes)));
  }
  if (!others.empty()) text += "; beside it " + others;
  const std::string advice = advice_of(*this);
  return advice.empty() ? text : text + "; " + advice;
}

std::map<std::string, std::string> OomReport::fields() const {
  std::map<std::string, std::string> fields = {{"limit", std::string(to_string(scope))},
                                               {"main", is_main ? "true" : "false"}};
  if (victim) {
    fields["pid"] = std::to_string(victim->pid);
    fields["process"] = victim->name;
    fields["process_bytes"] = std::to_string(victim->bytes);
  }
  if (limit_bytes) fields["limit_bytes"] = std::to_string(*limit_bytes);
  if (peak_bytes) fields["peak_bytes"] = std::to_string(*peak_bytes);
  if (!group.empty()) fields["group"] = group;
  return fields;
}

std::vector<LimitHits> read_limit_hits(const std::string& memory_group, bool is_v2) {
  std::vector<LimitHits> hits;
  std::string group = memory_group;
  while (!group.empty()) {
    const auto text = read_file(group + (is_v2 ? "/memory.events.local" : "/memory.failcnt"));
    if (!text) break;
    const auto count = is_v2 ? find_key(*text, "oom") : parse_number(*text);
    hits.push_back({group, count.value_or(0)});
    group.resize(group.rfind('/'));
  }
  return hits;
}

OomScope scope_from_hits(const std::vector<LimitHits>& before, const std::vector<LimitHits>& now,
                         std::string& group) {
  for (std::size_t i = 0; i < before.size() && i < now.size(); ++i) {
    if (now[i].group != before[i].group || now[i].count <= before[i].count) continue;
    if (i == 0) return OomScope::Child;
    if (i == 1) return OomScope::Service;
    group = now[i].group;
    return OomScope::Ancestor;
  }
  return before.empty() ? OomScope::Unknown : OomScope::Host;
}

OomScope scope_from_log(const KernelOomKill& kill, const std::string& child_group,
                        const std::string& service_group, std::string& group) {
  if (!kill.is_by_group) return OomScope::Host;
  if (kill.limit_group.ends_with(child_group)) return OomScope::Child;
  if (kill.limit_group.ends_with(service_group)) return OomScope::Service;
  group = kill.limit_group;
  return OomScope::Ancestor;
}

}  // namespace pillion::supervisor::usage
