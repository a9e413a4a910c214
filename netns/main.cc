// pillion-netns: builds, captures and removes the network of one service; short-lived, run by the
// supervisor, by hand, or as an init container. What it is to do comes as JSON on stdin.
#include <CLI/CLI.hpp>

#include "netns/commands.h"

namespace {

constexpr int kExitUsage = 64;

void add_commands(CLI::App& app, pillion::netns::CommandLine& line) {
  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = app.add_subcommand(name, help);
    command->callback([&line, name] { line.command = name; });
    command->add_option("--service", line.service_file, "take the input from a service's file");
    return command;
  };
  const auto add_name = [&](CLI::App* command) {
    command->add_option("name", line.name, "name of a bridged service, instead of any input");
  };
  CLI::App* create = add("create", "build the network of a service; prints facts as JSON");
  CLI::App* capture = add("capture", "make the capture rules live");
  for (CLI::App* command : {create, capture}) {
    command->add_flag("--dry-run", line.is_dry_run, "print what would be done");
  }
  add_name(add("uncapture", "remove the capture rules"));
  add_name(add("remove", "remove the network of a service and remains of crashed runs"));
  add_name(add("show", "print what there is of a service's network as JSON"));
  CLI::App* verify = add("verify", "compare with what is wanted; exit code 1 if it differs");
  verify->add_flag("--capture", line.with_capture, "capture rules must be live, too");
  add_name(verify);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Network namespaces of Pillion services. Input: a JSON document on stdin.");
  app.set_version_flag("--version", PILLION_VERSION);
  app.require_subcommand(1);
  pillion::netns::CommandLine line;
  add_commands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return pillion::netns::run_command(line);
}
