// `pillion recommend`: requests and limits from what the children were seen to use.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>

#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/fd.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_name.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/usage_api.h"

namespace pillion::supervisor::cli {

namespace {

struct RecommendOptions {
  std::string name;
  std::string child;
  bool is_json = false;
};

// From what an earlier run has left, for a service that does not run now.
Result<std::string> recommend_from_file(const RecommendOptions& options) {
  const auto loaded = config::load_service(options.name, config::system_load_options());
  if (!loaded.value) {
    return fail(fmt::format("cannot load {}; `pillion check` says why", options.name));
  }
  const std::string path = host::service_paths(loaded.value->name()).state + "/usage.json";
  const auto text = read_file(path);
  if (!text) return fail(text.error().wrap("nothing is known of its use"));
  const auto history = usage::parse_history(*text);
  if (!history) return fail(history.error().wrap(path));
  if (!options.child.empty() && loaded.value->find(options.child) == nullptr) {
    return fail(fmt::format("{} has no child \"{}\"", loaded.value->name(), options.child));
  }
  return usage::to_json(host::recommend_for(*loaded.value, *history, options.child));
}

int recommend(RecommendOptions& options) {
  split_child(options.name, options.child);
  const std::string target = options.child.empty()
                                 ? "/v1/recommend"
                                 : "/v1/recommend?child=" + encode_for_target(options.child);
  auto answer = call_api(options.name, "GET", target);
  const bool is_file = service_name_of(options.name) != options.name;
  if (!answer && answer.error().errno_value() == ENOENT && is_file) {
    answer = recommend_from_file(options);
  }
  if (!answer) return complain(answer.error());
  if (options.is_json) {
    fmt::print("{}\n", *answer);
    return kExitOk;
  }
  const auto json = nlohmann::json::parse(*answer, nullptr, false);
  if (!json.is_object() || !json.contains("patch")) {
    return complain(Error("the supervisor's answer is not what was asked for"));
  }
  fmt::print("{}", json["patch"].get<std::string>());
  return kExitOk;
}

}  // namespace

void add_recommend(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RecommendOptions>();  // shared with the callback
  CLI::App* command = app.add_subcommand(
      "recommend", "Requests and limits from observed use, as tables for the service's file");
  command->add_option("NAME", options->name, "The service, NAME/CHILD, or its file")->required();
  command->add_option("CHILD", options->child, "Only this child");
  command->add_flag("--json", options->is_json, "The numbers and the tables as JSON");
  command->callback([options, &exit_code] { exit_code = recommend(*options); });
}

}  // namespace pillion::supervisor::cli
