#include "supervisor/cli/child_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/running_services.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kWaitMax = std::chrono::minutes(10);

void put(Json& body, const char* key, const std::optional<Duration>& duration) {
  if (!duration) return;
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(*duration);
  body[key] = fmt::format("{}ms", milliseconds.count());
}

std::string past(const std::string& verb, bool is_done) {
  if (!is_done) return "is told to " + verb;
  if (verb == "stop") return "is stopped";
  return verb == "restart" ? "has restarted and is ready" : "is up and ready";
}

}  // namespace

int ask_for(const char* verb, const ChildWish& wish) {
  Json body = Json::object();
  put(body, "grace", wish.grace);
  put(body, "timeout", wish.timeout);
  const std::string target =
      wish.child.empty() ? std::string("/v1/") + verb
                         : fmt::format("/v1/children/{}/{}", encode_for_target(wish.child), verb);
  const Duration patience =
      wish.waits ? wish.timeout.value_or(kWaitMax) + kAnswerTimeout : kAnswerTimeout;
  const auto answer =
      call_api(wish.name, "POST", target + (wish.waits ? "?wait=1" : ""), body.dump(), patience);
  if (!answer) return complain(answer.error());
  if (wish.is_json) {
    fmt::print("{}\n", *answer);
    return kExitOk;
  }
  fmt::print("{} {}\n", wish.child.empty() ? service_name_of(wish.name) : wish.child,
             past(verb, wish.waits));
  return kExitOk;
}

}  // namespace pillion::supervisor::cli
