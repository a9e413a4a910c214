// `pillion resize`: changes limits of a child while it runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_name.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/limit_text.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;

struct ResizeOptions {
  std::string name;
  std::string child;
  Json changes = Json::object();  // "limits" and "requests" as the API takes them
  bool is_reset = false;
  bool is_forced = false;
  bool is_json = false;
};

// An option that sets one key.
struct Amount {
  const char* flag;
  const char* table;
  const char* key;
  std::string (*convert)(const std::string&);
  const char* help;
};

std::string as_it_is(const std::string& text) { return text; }

constexpr Amount kAmounts[] = {
    {"--cpu-max,--cpu", "limits", "cpu", cpu_text, "CPU limit: 50%, 0.5, 500m"},
    {"--memory-max,--memory", "limits", "memory", bytes_text, "Memory limit: 256M, 256MiB"},
    {"--memory-high", "limits", "memory_high", bytes_text, "Above it the child is slowed down"},
    {"--swap-max", "limits", "swap", bytes_text, "Swap limit"},
    {"--pids-max", "limits", "pids", as_it_is, "Processes and threads"},
    {"--io-weight", "limits", "io_weight", as_it_is, "1 to 10000; others have 100"},
    {"--cpuset", "limits", "cpuset", as_it_is, "CPUs it may run on: 0-3,8"},
    {"--memory-nodes", "limits", "memory_nodes", as_it_is, "NUMA nodes of its memory"},
    {"--cpu-request", "requests", "cpu", cpu_text, "Weight when CPUs are short"},
    {"--memory-request", "requests", "memory", bytes_text, "Spared when memory is short"},
    {"--memory-min", "requests", "memory_min", bytes_text, "Never reclaimed (cgroup v2)"},
};

// "limits.memory  512MiB   (the file says 256MiB)"
void print_resources(const Json& answer) {
  const Json now = answer.value("now", Json::object());
  const Json file = answer.value("file", Json::object());
  if (now.empty()) fmt::print("no limits and no requests\n");
  for (const auto& [key, value] : now.items()) {
    const auto differs = file.find(key);
    fmt::print("{:<20}  {}{}\n", key, value.get<std::string>(),
               differs == file.end()
                   ? ""
                   : fmt::format("  (the file says {})", differs->get<std::string>()));
  }
}

int resize(ResizeOptions& options) {
  split_child(options.name, options.child);
  if (options.child.empty()) {
    return complain(Error("name the child: `pillion resize NAME/CHILD --memory-max 512M`"));
  }
  Json body = options.changes;
  if (options.is_reset) body["reset"] = true;
  if (options.is_forced) body["force"] = true;
  const auto answer = call_api(
      options.name, "POST", fmt::format("/v1/children/{}/resize", encode_for_target(options.child)),
      body.dump());
  if (!answer) return complain(answer.error());
  if (options.is_json) {
    fmt::print("{}\n", *answer);
    return kExitOk;
  }
  const Json json = Json::parse(*answer, nullptr, false);
  if (!json.is_object()) return complain(Error("the supervisor's answer is not JSON"));
  print_resources(json);
  return kExitOk;
}

}  // namespace

void add_resize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ResizeOptions>();  // shared with the callbacks
  CLI::App* command = app.add_subcommand(
      "resize", "Change limits of a child while it runs; without any, show them");
  command->add_option("NAME", options->name, "The service, or NAME/CHILD")->required();
  command->add_option("CHILD", options->child, "The child");
  for (const Amount& amount : kAmounts) {
    command
        ->add_option_function<std::string>(
            amount.flag,
            [options, &amount](const std::string& text) {
              options->changes[amount.table][amount.key] =
                  text == "none" ? text : amount.convert(text);
            },
            amount.help)
        ->type_name("AMOUNT|none");
  }
  command->add_flag("--reset", options->is_reset, "Back to what the file says");
  command->add_flag("--force", options->is_forced, "Also below what is in use");
  command->add_flag("--json", options->is_json, "The answer as JSON");
  command->callback([options, &exit_code] { exit_code = resize(*options); });
}

}  // namespace pillion::supervisor::cli
