// Reading the JSON bodies of the control API's requests. Includes the JSON library: for .cc files.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "config/parse_units.h"
#include "runtime/clock.h"
#include "runtime/result.h"
#include "supervisor/control/api.h"

namespace pillion::supervisor::host {

// The body's object; empty for an empty body, an error for anything else.
inline Result<nlohmann::json> parse_body(const control::ApiRequest& request) {
  if (request.body.empty()) return nlohmann::json::object();
  nlohmann::json json = nlohmann::json::parse(request.body, nullptr, false);
  if (!json.is_object()) return fail("the body is not a JSON object");
  return json;
}

// Empty when the key is missing or null.
inline Result<std::optional<Duration>> read_duration(const nlohmann::json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end() || found->is_null()) return std::optional<Duration>();
  const auto duration = found->is_string()
                            ? config::parse_duration(found->get_ref<const std::string&>())
                            : std::nullopt;
  if (!duration) {
    return fail("`" + std::string(key) + "` is a duration with its unit, such as \"10s\"");
  }
  return std::optional<Duration>(*duration);
}

// False when the key is missing.
inline Result<bool> read_flag(const nlohmann::json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end()) return false;
  if (!found->is_boolean()) return fail("`" + std::string(key) + "` is true or false");
  return found->get<bool>();
}

// Empty when the key is missing or null.
inline Result<std::optional<std::string>> read_text(const nlohmann::json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end() || found->is_null()) return std::optional<std::string>();
  if (!found->is_string()) return fail("`" + std::string(key) + "` is a text");
  return std::optional(found->get<std::string>());
}

}  // namespace pillion::supervisor::host
