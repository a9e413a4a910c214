// What an examination found: one sentence of fact and, where something is wrong, one of advice.
// `pillion-netns doctor` writes them, `pillion doctor` adds its own and prints them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion::netns {

enum class Verdict : std::uint8_t {
  Ok,
  Unknown,  // could not be examined; `found` says why
  Warning,  // works, but not as it should
  Problem,  // explains why something does not work
};

struct Finding {
  std::string check;  // "rules", "proxy-outbound", "dns", …: stable, for programs
  Verdict verdict = Verdict::Ok;
  std::string found;   // one sentence
  std::string remedy;  // what to do; "" for Ok

  bool operator==(const Finding&) const = default;
};

std::string_view verdict_text(Verdict verdict);  // "ok", "unknown", "warning", "problem"

// A JSON array; parse_findings() is its inverse.
std::string findings_to_json(const std::vector<Finding>& findings);
Result<std::vector<Finding>> parse_findings(std::string_view json_text);

// For people: what is wrong first.
std::string findings_to_text(const std::vector<Finding>& findings);

// 0 when nothing is a problem, else 1.
int exit_code_of(const std::vector<Finding>& findings);

}  // namespace pillion::netns
