// `pillion completion bash|zsh|fish`: a script that completes commands, options, services and
// children; and what those scripts ask for the last two.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/completion_scripts.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_status.h"

namespace pillion::supervisor::cli {

namespace {

CompletedWord word_of(const std::string& name) {
  if (name == "NAME" || name == "SERVICE") return CompletedWord::Service;
  if (name == "CHILD") return CompletedWord::Child;
  return name == "FILE" ? CompletedWord::File : CompletedWord::Nothing;
}

CompletedCommand describe(const CLI::App& command) {
  CompletedCommand described{command.get_name(), command.get_description(), {}, {}};
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional()) {
      described.words.push_back(word_of(option->get_name(true)));
      continue;
    }
    CompletedOption one{{}, option->get_description(), option->get_items_expected_max() > 0};
    for (const std::string& name : option->get_lnames()) one.names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) one.names.push_back("-" + name);
    described.options.push_back(std::move(one));
  }
  return described;
}

std::vector<CompletedCommand> describe_all(const CLI::App& app) {
  std::vector<CompletedCommand> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    // Hidden ones are for programs.
    if (!command->get_group().empty()) commands.push_back(describe(*command));
  }
  return commands;
}

void print_services() {
  for (const std::string& name : list_services()) fmt::print("{}\n", name);
}

void print_children(const std::string& service) {
  const auto report = fetch_status(service);
  if (!report) return;
  for (const auto& child : report->service.children) fmt::print("{}\n", child.name);
}

}  // namespace

void add_completion(CLI::App& app, int& exit_code) {
  auto service = std::make_shared<std::string>();  // shared with the callback
  CLI::App* completion =
      app.add_subcommand("completion", "Print a completion script: bash, zsh or fish");
  completion->require_subcommand(1);
  const auto add_script = [&](const char* shell, auto render) {
    CLI::App* script = completion->add_subcommand(shell, std::string("For ") + shell);
    script->callback([&app, &exit_code, render] {
      fmt::print("{}", render(describe_all(app)));
      exit_code = kExitOk;
    });
  };
  add_script("bash", bash_completion);
  add_script("zsh", zsh_completion);
  add_script("fish", fish_completion);
  CLI::App* services = completion->add_subcommand("services", "")->group("");
  services->callback([] { print_services(); });
  CLI::App* children = completion->add_subcommand("children", "")->group("");
  children->add_option("NAME", *service)->required();
  children->callback([service] { print_children(*service); });
}

}  // namespace pillion::supervisor::cli
