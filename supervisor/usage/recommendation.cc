#include "supervisor/usage/recommendation.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/units.h"
#include "supervisor/usage/quantity_text.h"

namespace pillion::supervisor::usage {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kDay = 24 * 3600;
constexpr std::uint64_t kMebibyte = 1u << 20;

// Up to whole hundredths of a CPU; the smallest that the file takes.
std::uint32_t round_cpu(double millis) {
  return static_cast<std::uint32_t>(std::max(10.0, std::ceil(millis / 10) * 10));
}

std::uint64_t round_memory(double bytes) {
  const auto mebibytes = static_cast<std::uint64_t>(std::ceil(bytes / kMebibyte));
  return std::max<std::uint64_t>(mebibytes, 1) * kMebibyte;
}

std::string change_of(const std::string& before, const std::string& now) {
  if (before.empty()) return "not given before";
  return before == now ? "as it is" : "was " + before;
}

std::string cpu_text(std::optional<std::uint32_t> millis) {
  return millis ? to_string(config::MilliCpu{*millis}) : std::string();
}
std::string memory_text(std::optional<std::uint64_t> bytes) {
  return bytes ? to_string(config::Bytes{*bytes}) : std::string();
}

// One line of the patch; other keys of the table stay as they are.
std::string row(const char* key, const std::string& cpu, const std::string& memory,
                const std::string& cpu_before, const std::string& memory_before) {
  return fmt::format("{} = {{ cpu = \"{}\", memory = \"{}\" }}  # cpu {}, memory {}\n", key, cpu,
                     memory, change_of(cpu_before, cpu), change_of(memory_before, memory));
}

std::string child_patch(const Recommendation& each) {
  std::string out = fmt::format("# {}: ", each.child);
  if (!each.is_possible) return out + "nothing was observed yet\n";
  out += fmt::format("{} samples over {} of running, {} generation{}{}\n", each.samples,
                     describe_span(each.observed_seconds), each.generations,
                     each.generations == 1 ? "" : "s",
                     each.is_thin ? "; that is little: less than a day" : "");
  out += fmt::format("# CPU P90 {}, P99 {}; memory P90 {}, P99 {}, peak {}{}\n",
                     describe_cpu(each.cpu_p90_millis), describe_cpu(each.cpu_p99_millis),
                     describe_bytes(each.memory_p90_bytes), describe_bytes(each.memory_p99_bytes),
                     describe_bytes(static_cast<double>(each.memory_peak_bytes)),
                     each.oom_kills == 0
                         ? ""
                         : fmt::format("; killed for lack of memory {} times", each.oom_kills));
  const GivenResources& now = each.recommended;
  const GivenResources& given = each.given;
  out += fmt::format("[{}]\n", each.table);
  out += row("requests", cpu_text(now.cpu_request_millis), memory_text(now.memory_request_bytes),
             cpu_text(given.cpu_request_millis), memory_text(given.memory_request_bytes));
  out += row("limits", cpu_text(now.cpu_limit_millis), memory_text(now.memory_limit_bytes),
             cpu_text(given.cpu_limit_millis), memory_text(given.memory_limit_bytes));
  return out;
}

Json encode(const GivenResources& resources) {
  Json json = Json::object();
  const auto put = [&](const char* table, const char* key, const std::string& value) {
    if (!value.empty()) json[table][key] = value;
  };
  put("requests", "cpu", cpu_text(resources.cpu_request_millis));
  put("requests", "memory", memory_text(resources.memory_request_bytes));
  put("limits", "cpu", cpu_text(resources.cpu_limit_millis));
  put("limits", "memory", memory_text(resources.memory_limit_bytes));
  return json;
}

}  // namespace

Recommendation recommend(const std::string& child, const std::string& table,
                         const GivenResources& given, const ChildHistory& history) {
  Recommendation result;
  result.child = child;
  result.table = table;
  result.given = given;
  result.observed_seconds = history.observed_seconds;
  result.samples = history.working_set_bytes.count();
  result.generations = history.generations;
  result.oom_kills = history.oom_kills;
  result.cpu_p90_millis = history.cpu_millis.quantile(0.9);
  result.cpu_p99_millis = history.cpu_millis.quantile(0.99);
  result.memory_p90_bytes = history.working_set_bytes.quantile(0.9);
  result.memory_p99_bytes = history.working_set_bytes.quantile(0.99);
  result.memory_peak_bytes = history.memory_peak_bytes;
  result.is_possible = history.cpu_millis.count() > 0 && history.working_set_bytes.count() > 0;
  result.is_thin = history.observed_seconds < kDay;
  if (!result.is_possible) return result;
  GivenResources& now = result.recommended;
  now.cpu_request_millis = round_cpu(result.cpu_p90_millis);
  now.cpu_limit_millis = std::max(round_cpu(2 * result.cpu_p99_millis), *now.cpu_request_millis);
  now.memory_request_bytes = round_memory(result.memory_p90_bytes);
  // A peak between two samples, or one that the kernel cut off, counts too.
  const double peak = 1.2 * history.working_set_bytes.max();
  now.memory_limit_bytes = round_memory(std::max(2 * result.memory_p99_bytes, peak));
  if (history.oom_kills > 0 && given.memory_limit_bytes) {
    const auto more = round_memory(1.5 * static_cast<double>(*given.memory_limit_bytes));
    now.memory_limit_bytes = std::max(*now.memory_limit_bytes, more);
  }
  return result;
}

std::string to_toml_patch(const std::vector<Recommendation>& recommendations) {
  std::string out;
  for (const Recommendation& each : recommendations) {
    if (!out.empty()) out += '\n';
    out += child_patch(each);
  }
  return out;
}

std::string to_json(const std::vector<Recommendation>& recommendations) {
  Json children = Json::array();
  for (const Recommendation& each : recommendations) {
    Json json = {{"child", each.child},
                 {"table", each.table},
                 {"possible", each.is_possible},
                 {"thin", each.is_thin},
                 {"observed_seconds", each.observed_seconds},
                 {"samples", each.samples},
                 {"generations", each.generations},
                 {"oom_kills", each.oom_kills},
                 {"cpu_p90", each.cpu_p90_millis / 1000},
                 {"cpu_p99", each.cpu_p99_millis / 1000},
                 {"memory_p90_bytes", std::llround(each.memory_p90_bytes)},
                 {"memory_p99_bytes", std::llround(each.memory_p99_bytes)},
                 {"memory_peak_bytes", each.memory_peak_bytes}};
    json["given"] = encode(each.given);
    json["recommended"] = encode(each.recommended);
    children.push_back(std::move(json));
  }
  return Json{{"children", children}, {"patch", to_toml_patch(recommendations)}}.dump();
}

}  // namespace pillion::supervisor::usage
