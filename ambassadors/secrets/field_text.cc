#include "ambassadors/secrets/field_text.h"

#include <nlohmann/json.hpp>

#include "ambassadors/secrets/json_fields.h"

namespace pillion::secrets {
namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string_view unquoted(std::string_view value) {
  const bool is_quoted = value.size() >= 2 && value.front() == value.back() &&
                         (value.front() == '"' || value.front() == '\'');
  return is_quoted ? value.substr(1, value.size() - 2) : value;
}

Result<Fields> parse_lines(std::string_view text) {
  Fields fields;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.front() == '#') continue;
    if (line.starts_with("export ")) line = trimmed(line.substr(7));
    const auto equals = line.find('=');
    const std::string_view key = trimmed(line.substr(0, equals));
    if (equals == std::string_view::npos || key.empty()) {
      return fail("line " + std::to_string(number) + " is not KEY=VALUE");
    }
    fields.insert_or_assign(std::string(key),
                            SecretText(unquoted(trimmed(line.substr(equals + 1)))));
  }
  return fields;
}

}  // namespace

nlohmann::json parse_json(std::string_view text) {
  constexpr int kDepthMax = 64;
  int depth = 0;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_in_string) {
      if (c == '\\') ++i;
      if (c == '"') is_in_string = false;
    } else if (c == '"') {
      is_in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthMax) return nlohmann::json(nlohmann::json::value_t::discarded);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return nlohmann::json::parse(text, nullptr, false);
}

Fields take_fields(nlohmann::json& object) {
  Fields fields;
  for (auto& [key, value] : object.items()) {
    if (value.is_null()) continue;
    if (value.is_string()) {
      fields.emplace(key, SecretText::take(value.get_ref<std::string&>()));
    } else {
      std::string text = value.dump();
      fields.emplace(key, SecretText::take(text));
    }
  }
  return fields;
}

void wipe(nlohmann::json& document) {
  if (document.is_string()) {
    wipe(document.get_ref<std::string&>());
  } else if (document.is_structured()) {
    for (auto& child : document) wipe(child);
  }
}

Result<Fields> parse_json_fields(std::string_view text) {
  nlohmann::json document = parse_json(text);
  if (document.is_discarded()) return fail("it is not valid JSON");
  if (!document.is_object()) return fail("it is not a JSON object");
  Fields fields = take_fields(document);
  wipe(document);
  return fields;
}

Result<Fields> parse_fields(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && text[first] == '{';
  return is_json ? parse_json_fields(text) : parse_lines(text);
}

}  // namespace pillion::secrets
