#include "supervisor/control/request.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "config/parse_units.h"

namespace pillion::supervisor::control {

namespace {
using Json = nlohmann::json;
}

Result<Request> parse_request(std::string_view line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return fail("a request is one JSON object on one line");
  const auto command = json.find("command");
  if (command == json.end() || !command->is_string()) {
    return fail("`command` is missing; there are \"status\" and \"stop\"");
  }
  Request request;
  const auto& name = command->get_ref<const std::string&>();
  if (name == "status") {
    request.command = Command::Status;
  } else if (name == "stop") {
    request.command = Command::Stop;
  } else {
    return fail(fmt::format("unknown command \"{}\"; there are \"status\" and \"stop\"",
                            name.substr(0, 64)));
  }
  const auto grace = json.find("grace");
  if (grace == json.end() || grace->is_null()) return request;
  const auto duration = grace->is_string()
                            ? config::parse_duration(grace->get_ref<const std::string&>())
                            : std::nullopt;
  if (!duration) return fail("`grace` is a duration with its unit, such as \"10s\"");
  request.grace = *duration;
  return request;
}

std::string to_json(const Request& request) {
  if (request.command == Command::Status) return R"({"command":"status"})";
  if (!request.grace) return R"({"command":"stop"})";
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(*request.grace).count();
  return fmt::format(R"({{"command":"stop","grace":"{}ms"}})", milliseconds);
}

std::string error_json(std::string_view message) {
  return Json{{"error", message}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<std::string> parse_error(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {};
  const auto error = json.find("error");
  if (error == json.end() || !error->is_string()) return {};
  return error->get<std::string>();
}

}  // namespace pillion::supervisor::control
