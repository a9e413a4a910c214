#include "netns/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace pillion::netns {
namespace {

using Json = nlohmann::ordered_json;

constexpr Verdict kVerdicts[] = {Verdict::Problem, Verdict::Warning, Verdict::Unknown, Verdict::Ok};

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::string_view verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::Ok: return "ok";
    case Verdict::Unknown: return "unknown";
    case Verdict::Warning: return "warning";
    case Verdict::Problem: return "problem";
  }
  PILLION_ASSERT(false);
}

std::string findings_to_json(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& item : findings) {
    list.push_back({{"check", item.check},
                    {"verdict", verdict_text(item.verdict)},
                    {"found", item.found},
                    {"remedy", item.remedy}});
  }
  return list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<std::vector<Finding>> parse_findings(std::string_view json_text) {
  const Json list = Json::parse(json_text.begin(), json_text.end(), nullptr, false);
  if (!list.is_array()) return fail("the findings are not a JSON array");
  std::vector<Finding> findings;
  for (const Json& object : list) {
    if (!object.is_object()) return fail("a finding is not a JSON object");
    Finding item{text_of(object, "check"), Verdict::Unknown, text_of(object, "found"),
                 text_of(object, "remedy")};
    for (const Verdict verdict : kVerdicts) {
      if (text_of(object, "verdict") == verdict_text(verdict)) item.verdict = verdict;
    }
    findings.push_back(std::move(item));
  }
  return findings;
}

std::string findings_to_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Verdict verdict : kVerdicts) {
    for (const Finding& item : findings) {
      if (item.verdict != verdict) continue;
      text += fmt::format("{:<8} {:<15} {}\n", verdict_text(verdict), item.check, item.found);
      if (!item.remedy.empty()) text += fmt::format("{:<24} → {}\n", "", item.remedy);
    }
  }
  const auto count = [&](Verdict verdict) {
    return std::count_if(findings.begin(), findings.end(),
                         [&](const Finding& item) { return item.verdict == verdict; });
  };
  return text + fmt::format("{} checks: {} problems, {} warnings\n", findings.size(),
                            count(Verdict::Problem), count(Verdict::Warning));
}

int exit_code_of(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& item) { return item.verdict == Verdict::Problem; })
             ? 1
             : 0;
}

}  // namespace pillion::netns
