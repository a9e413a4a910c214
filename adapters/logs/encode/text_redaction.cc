#include "adapters/logs/encode/text_redaction.h"

#include <algorithm>

#include "adapters/logs/encode/record_values.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

constexpr std::string_view kReplacement = "[REDACTED]";

constexpr const char* kCard = R"((?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-]))";
constexpr const char* kEmail =
    R"([A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,})";

// What follows \K is replaced; what stands before it says what it is.
constexpr const char* kSecrets[] = {
    // password=…, "api_key": "…", Authorization: Bearer …
    R"re((?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credentials?)["']?\s*[=:]\s*["']?(?:(?:bearer|basic|token)\s+)?\K[^\s"',;&]+)re",
    R"re((?i)\bbearer\s+\K[A-Za-z0-9._~+/=-]{8,})re",
    R"re(://[^/\s:@]+:\K[^/\s@]+(?=@))re",
    R"re(\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)re",
    R"re(\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)re",
    R"re(\bgh[pousr]_[A-Za-z0-9]{30,})re",
    R"re(\bgithub_pat_[A-Za-z0-9_]{30,})re",
    R"re(\bglpat-[A-Za-z0-9_-]{20,})re",
    R"re(\bxox[abeprs]-[A-Za-z0-9-]{10,})re",
    R"re(\bhv[sbr]\.[A-Za-z0-9_-]{20,})re",
    R"re(\bsk-[A-Za-z0-9_-]{20,})re",
    R"re((?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))re",
};

}  // namespace

bool is_card_number(std::string_view text) {
  int sum = 0;
  int count = 0;
  for (auto digit = text.rbegin(); digit != text.rend(); ++digit) {
    if (*digit < '0' || *digit > '9') continue;
    int value = *digit - '0';
    if (++count % 2 == 0) value = value > 4 ? value * 2 - 9 : value * 2;
    sum += value;
  }
  return count >= 13 && count <= 19 && sum % 10 == 0;
}

Result<std::shared_ptr<TextRedaction>> TextRedaction::compile(
    const std::vector<std::string>& kinds) {
  auto redaction = std::make_shared<TextRedaction>();
  const auto add = [&](const std::string& expression, bool is_card, char needed) -> Result<void> {
    auto compiled = RegexFormat::compile(expression, false);
    if (!compiled) return fail(compiled.error());
    redaction->rules_.push_back({std::move(*compiled), is_card, needed});
    return {};
  };
  for (const std::string& kind : kinds) {
    Result<void> added;
    if (kind == "cards") {
      added = add(kCard, true, 0);
    } else if (kind == "emails") {
      added = add(kEmail, false, '@');
    } else if (kind == "secrets") {
      for (const char* const secret : kSecrets) {
        if (added) added = add(secret, false, 0);
      }
    } else if (kind.size() > 2 && kind.front() == '/' && kind.back() == '/') {
      added = add(kind.substr(1, kind.size() - 2), false, 0);
    } else {
      added = fail(
          "neither \"cards\", \"emails\", \"secrets\" nor a regular expression between slashes");
    }
    if (!added) return fail(added.error().wrap("\"" + kind + "\""));
  }
  return redaction;
}

bool TextRedaction::redact(std::string& text) {
  bool has_found = false;
  for (const Rule& rule : rules_) {
    if (rule.needed != 0 && text.find(rule.needed) == std::string::npos) continue;
    for (std::size_t at = 0; at < text.size();) {
      if (rule.expression->match(text, at) != RegexFormat::Match::Yes) break;
      const std::string_view found = rule.expression->group(0);
      const auto begin = static_cast<std::size_t>(found.data() - text.data());
      if (found.empty() || (rule.is_card && !is_card_number(found))) {
        at = begin + std::max<std::size_t>(found.size(), 1);
        continue;
      }
      text.replace(begin, found.size(), kReplacement);
      at = begin + kReplacement.size();
      has_found = true;
    }
  }
  return has_found;
}

bool TextRedaction::apply(std::string_view json_string, std::string& out) {
  std::string text = unescaped(json_string);
  if (!redact(text)) return false;
  out.clear();
  append_json_string(out, text);
  return true;
}

}  // namespace pillion::logs
