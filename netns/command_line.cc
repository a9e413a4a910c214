#include "netns/command_line.h"

#include <CLI/CLI.hpp>

#include "netns/commands.h"

namespace pillion::netns {
namespace {

constexpr int kExitUsage = 64;

// Each by our name first, then by istio-iptables' own.
void add_pod_options(CLI::App* command, PodOptions& pod) {
  const auto option = [&](const char* names, std::string& value, const char* help) {
    command->add_option(names, value, help)->group("In a Pod, instead of a document");
  };
  command->add_option("--name", pod.name, "what the rules are called (default: pod)")
      ->group("In a Pod, instead of a document");
  option("--network-namespace", pod.namespace_path, "path of the namespace, if not this one");
  option("-p,--outbound-port,--envoy-port", pod.outbound_port, "where the proxy takes outbound");
  option("-z,--inbound-capture-port", pod.inbound_capture_port, "where the proxy takes inbound");
  option("-u,--proxy-uid", pod.proxy_uids, "users that are exempt; the first is the proxy's");
  option("-g,--proxy-gid", pod.proxy_gids, "groups that are exempt");
  option("-m,--inbound-interception-mode,--istio-inbound-interception-mode", pod.inbound_mode,
         "REDIRECT, TPROXY, NONE or auto");
  option("-b,--inbound-ports,--istio-inbound-ports", pod.inbound_ports, "captured; * = all");
  option("-d,--exclude-inbound-ports,--istio-local-exclude-ports", pod.exclude_inbound_ports,
         "not captured");
  option("-i,--outbound-cidrs,--istio-service-cidr", pod.outbound_cidrs, "captured; * = all");
  option("-x,--exclude-outbound-cidrs,--istio-service-exclude-cidr", pod.exclude_outbound_cidrs,
         "not captured");
  option("-q,--outbound-ports,--istio-outbound-ports", pod.outbound_ports, "captured; * = all");
  option("-o,--exclude-outbound-ports,--istio-local-outbound-ports-exclude",
         pod.exclude_outbound_ports, "not captured");
  option("-c,--exclude-interfaces,--istio-exclude-interfaces", pod.exclude_interfaces,
         "traffic through these is left alone");
  option("--only-uids", pod.only_owner_uids, "capture these users only");
  option("--outbound-owner-groups", pod.outbound_owner_groups, "capture these groups only");
  option("--exclude-outbound-owner-groups,--outbound-owner-groups-exclude",
         pod.exclude_outbound_owner_groups, "groups that are exempt, too");
  option("--backend", pod.backend, "auto, nftables or iptables");
  command->add_flag("--redirect-dns", pod.redirect_dns, "DNS goes to port 15053")
      ->group("In a Pod, instead of a document");
}

// Flags of istio-iptables for what is always so here: accepted, so that its command lines work.
void add_ignored_flags(CLI::App* command) {
  for (const char* flag : {"--drop-invalid", "--dual-stack", "--force-apply", "--reconcile"}) {
    command->add_flag(flag)->group("");
  }
}

class Builder {
 public:
  Builder(CLI::App& app, CommandLine& line) : app_(app), line_(line) {}

  CLI::App* add(const char* name, const char* help) {
    CLI::App* command = app_.add_subcommand(name, help);
    command->callback([&line = line_, name] { line.command = name; });
    command->add_option("--service", line_.service_file, "take the input from a service's file");
    return command;
  }
  void add_name(CLI::App* command) {
    command->add_option("name", line_.name, "name of a bridged service, instead of any input");
  }
  void add_here(CLI::App* command) {
    command->add_flag("--pod", line_.is_pod, "the namespace that this program is in");
    command->add_option("--annotations", line_.annotations_file,
                        "a Pod's annotations, as the downward API writes them");
    add_pod_options(command, line_.pod);
    add_ignored_flags(command);
  }
  void add_dry_run(CLI::App* command) {
    command->add_flag("-n,--dry-run", line_.is_dry_run, "print what would be done");
  }

 private:
  CLI::App& app_;
  CommandLine& line_;
};

void add_doctor_options(CLI::App* doctor, CommandLine& line) {
  doctor->add_flag("--json", line.is_json, "an array of findings");
  doctor->add_flag("--no-trial", line.without_trial, "make no trial connections");
  doctor->add_option("--resolv-conf", line.resolv_conf, "the file that the service's programs see");
  doctor->add_option("--app-uid", line.app_uids, "users of the app's processes");
  doctor->add_flag("--leftovers", line.leftovers,
                   "instead: what services that do not run have left");
  doctor->add_option("--running", line.running, "with --leftovers: services that run");
}

void add_commands(CLI::App& app, CommandLine& line) {
  Builder builder(app, line);
  CLI::App* apply = builder.add("apply", "create, then capture: everything that the input wants");
  CLI::App* create = builder.add("create", "build the network of a service; prints facts as JSON");
  CLI::App* capture = builder.add("capture", "make the capture rules live; prints what was chosen");
  CLI::App* uncapture = builder.add("uncapture", "remove the capture rules");
  CLI::App* remove = builder.add("remove", "remove the network of a service and remains");
  CLI::App* show = builder.add("show", "print what there is of a service's network as JSON");
  CLI::App* verify =
      builder.add("verify", "compare with what is wanted; exit code 1 if it differs");
  CLI::App* doctor = builder.add(
      "doctor", "examine a service's network: what is wrong and what to do; exit code 1 if it is");
  for (CLI::App* command : {apply, create, capture}) builder.add_dry_run(command);
  for (CLI::App* command : {uncapture, remove, show, verify, doctor}) builder.add_name(command);
  for (CLI::App* command : {apply, capture, uncapture, remove, show, verify, doctor}) {
    builder.add_here(command);
  }
  verify->add_flag("--capture", line.with_capture, "capture rules must be live, too");
  add_doctor_options(doctor, line);
}

}  // namespace

int run_command_line(int argc, char** argv, const char* version) {
  CLI::App app("Network namespaces of Pillion services. Input: a JSON document on stdin.");
  app.set_version_flag("--version", version);
  app.require_subcommand(1);
  CommandLine line;
  add_commands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return run_command(line);
}

}  // namespace pillion::netns
