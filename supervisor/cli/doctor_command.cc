// `pillion doctor`: what an engineer checks by hand when a mesh does not intercept. The service's
// state is judged here; its network by `pillion-netns doctor`, told what the supervisor told it
// (wanted.json) and which users the app's processes have.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "netns/finding.h"
#include "netns/wanted.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_process.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_findings.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/host/child_environment.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;
using netns::Finding;
using netns::Verdict;

constexpr std::size_t kAnswerBytesMax = 1u << 20;

struct DoctorOptions {
  std::vector<std::string> names;
  bool is_json = false;
  bool without_trial = false;
};

struct Diagnosed {
  std::string service;
  std::vector<Finding> findings;
};

// In the child between fork and exec: a service without root has its network in a user namespace.
void enter_network_of(const ChildProcess& process) {
  for (const auto& [kind, fd] : process.namespaces) {
    if (kind == CLONE_NEWUSER || kind == CLONE_NEWNET) static_cast<void>(::setns(fd.get(), kind));
  }
}

// What the program printed; its exit code says the same as its findings. `input` may be invalid.
Result<std::vector<Finding>> ask_netns(std::vector<std::string> words, const Fd& input,
                                       const ChildProcess* inside) {
  words.insert(words.begin(), {host::program_directory() + "/pillion-netns", "doctor", "--json"});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  auto channel = make_pipe();
  if (!channel) return fail(channel.error());
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot fork");
  if (pid == 0) {
    if (inside) enter_network_of(*inside);
    if (input) ::dup2(input.get(), STDIN_FILENO);
    ::dup2(channel->write_end.get(), STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  channel->write_end.reset();
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(channel->read_end.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > kAnswerBytesMax) break;
  }
  channel->read_end.reset();
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return netns::parse_findings(text);
}

// Processes of the app; empty when they cannot be looked at.
std::vector<ChildProcess> app_processes(const control::StatusReport& report) {
  std::vector<ChildProcess> found;
  for (const core::ChildStatus& child : report.service.children) {
    if (child.role != core::Role::App || child.pid == 0) continue;
    auto process = inspect_process(child.pid);
    if (process) found.push_back(std::move(*process));
  }
  return found;
}

std::vector<Finding> examine_network(const control::StatusReport& report,
                                     const DoctorOptions& options) {
  const auto paths = host::service_paths(report.service.name);
  const std::string wanted_path = paths.runtime + "/wanted.json";
  auto text = read_file(wanted_path);
  if (!text && text.error().errno_value() == ENOENT) {
    return {{"network", Verdict::Ok,
             "the service shares this machine's network and captures nothing", ""}};
  }
  auto input = open_file(wanted_path, O_RDONLY);
  if (!text || !input) {
    return {{"network", Verdict::Unknown,
             fmt::format("cannot examine its network: {}", input.error().message()), "use sudo"}};
  }
  const auto wanted = netns::parse_wanted(*text);
  const auto processes = app_processes(report);
  std::vector<std::string> words = {"--resolv-conf", paths.runtime + "/etc/resolv.conf"};
  if (::access(words.back().c_str(), R_OK) != 0) words.clear();
  for (const ChildProcess& process : processes) {
    words.push_back(fmt::format("--app-uid={}", process.uid));
  }
  if (options.without_trial) words.push_back("--no-trial");
  const bool is_in_place = wanted && wanted->is_in_place && !processes.empty();
  auto findings = ask_netns(words, *input, is_in_place ? &processes.front() : nullptr);
  if (findings) return *findings;
  return {{"network", Verdict::Unknown, "pillion-netns doctor: " + findings.error().message(),
           "look at what it printed above"}};
}

Diagnosed examine(const std::string& name, const DoctorOptions& options) {
  Diagnosed diagnosed{service_name_of(name), {}};
  const auto report = fetch_status(name);
  if (!report) {
    diagnosed.findings.push_back({"service", Verdict::Problem, report.error().message(),
                                  "pillion start " + diagnosed.service});
    return diagnosed;
  }
  diagnosed.findings = findings_of(*report);
  for (Finding& finding : examine_network(*report, options)) {
    diagnosed.findings.push_back(std::move(finding));
  }
  return diagnosed;
}

// Remains of services that do not run any more.
std::vector<Finding> examine_machine(const std::vector<std::string>& running) {
  std::vector<std::string> words = {"--leftovers"};
  for (const std::string& name : running) words.push_back("--running=" + name);
  auto findings = ask_netns(words, Fd(), nullptr);
  if (findings) return *findings;
  return {{"leftovers", Verdict::Unknown, findings.error().message(), ""}};
}

void print(const std::vector<Diagnosed>& services, const std::vector<Finding>* machine,
           bool is_json) {
  if (!is_json) {
    for (const Diagnosed& item : services) {
      fmt::print("{}\n{}\n", item.service, netns::findings_to_text(item.findings));
    }
    if (machine) fmt::print("this machine\n{}", netns::findings_to_text(*machine));
    return;
  }
  Json list = Json::array();
  for (const Diagnosed& item : services) {
    list.push_back({{"service", item.service},
                    {"findings", Json::parse(netns::findings_to_json(item.findings))}});
  }
  Json whole = {{"services", std::move(list)}};
  if (machine) whole["machine"] = Json::parse(netns::findings_to_json(*machine));
  fmt::print("{}\n", whole.dump(2, ' ', false, Json::error_handler_t::replace));
}

int examine_all(const DoctorOptions& options) {
  const auto running = list_services();
  std::vector<Diagnosed> services;
  for (const std::string& name : options.names.empty() ? running : options.names) {
    services.push_back(examine(name, options));
  }
  std::vector<Finding> machine;
  if (options.names.empty()) machine = examine_machine(running);
  print(services, options.names.empty() ? &machine : nullptr, options.is_json);
  int exit_code = netns::exit_code_of(machine);
  for (const Diagnosed& item : services) {
    exit_code = std::max(exit_code, netns::exit_code_of(item.findings));
  }
  return exit_code == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void add_doctor(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<DoctorOptions>();  // shared with the callback
  CLI::App* doctor = app.add_subcommand(
      "doctor", "Examine services and their networks: what is wrong, and what to do");
  doctor->add_option("NAME", options->names, "Services (default: all, and what others left)");
  doctor->add_flag("--json", options->is_json, "An object with an array of findings per service");
  doctor->add_flag("--no-trial", options->without_trial, "Make no trial connections");
  doctor->callback([options, &exit_code] { exit_code = examine_all(*options); });
}

}  // namespace pillion::supervisor::cli
