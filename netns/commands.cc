#include "netns/commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "config/diagnostic.h"
#include "config/system_lookup.h"
#include "netns/apply.h"
#include "netns/choose_capture.h"
#include "netns/doctor.h"
#include "netns/finding.h"
#include "netns/inspect.h"
#include "netns/iptables_rules.h"
#include "netns/namespace.h"
#include "netns/plan.h"
#include "netns/rules.h"
#include "netns/wanted_from_service.h"
#include "runtime/fd.h"

namespace pillion::netns {
namespace {

constexpr std::size_t kDocumentBytesMax = 1u << 20;

int report(const Error& error, int exit_code) {
  std::fputs(fmt::format("pillion-netns: {}\n", error.message()).c_str(), stderr);
  return exit_code;
}

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }

Result<std::string> read_stdin() {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("cannot read the document on stdin");
    if (count == 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > kDocumentBytesMax) return fail("the document on stdin is larger than 1 MiB");
  }
}

// Warnings of the file go to stderr; its errors are the result's.
Result<Wanted> wanted_from_file(const std::string& path) {
  auto loaded = config::load_service(path, config::system_load_options());
  const std::string told = config::format_text(loaded.diagnostics);
  if (!loaded.value) return fail("cannot load " + path + "\n" + told);
  if (!loaded.diagnostics.empty()) std::fputs(told.c_str(), stderr);
  return wanted_from_service(*loaded.value);
}

bool is_told_by_flags(const CommandLine& line) {
  return line.is_pod || !line.annotations_file.empty() || line.pod != PodOptions{};
}

Result<Wanted> wanted_from_flags(const CommandLine& line) {
  PodOptions options = line.pod;
  if (!line.annotations_file.empty()) {
    auto text = read_file(line.annotations_file, kDocumentBytesMax);
    if (!text) return fail(text.error());
    if (auto read = read_annotations(*text, options); !read) return fail(read.error());
  }
  return wanted_from_pod_options(options);
}

Result<Wanted> read_wanted(const CommandLine& line) {
  if (is_told_by_flags(line)) return wanted_from_flags(line);
  if (!line.service_file.empty()) return wanted_from_file(line.service_file);
  if (!line.name.empty()) {
    return parse_wanted(fmt::format("{{\"service\": \"{}\"}}", line.name));
  }
  auto text = read_stdin();
  if (!text) return fail(text.error());
  return parse_wanted(*text);
}

int print_create_plan(const Wanted& wanted) {
  auto host = observe_host();
  if (!host) return report(host.error(), kExitSetUp);
  auto plan = plan_create(wanted, *host);
  if (!plan) return report(plan.error(), kExitSetUp);
  for (const Step& step : plan->steps) {
    print(fmt::format("# {}\n", describe(step)));
    if (const auto* rules = std::get_if<LoadRules>(&step)) print(rules->rules);
  }
  return kExitOk;
}

int create(const Wanted& wanted, bool is_dry_run) {
  if (is_dry_run) return print_create_plan(wanted);
  auto facts = create_network(wanted);
  if (!facts) return report(facts.error(), kExitSetUp);
  print(facts_to_json(*facts));
  return kExitOk;
}

// The rules of the first way that would be tried; where there is no namespace yet, of the one that
// needs the least.
int print_capture_rules(const Wanted& wanted) {
  auto attempts = find_capture_attempts(wanted);
  const auto choice = attempts ? attempts->front() : capture_attempts(wanted, {}).front();
  const Wanted chosen = with_choice(wanted, choice);
  print(fmt::format("# backend {}: {}\n# inbound {}: {}\n", backend_text(choice.backend),
                    choice.backend_reason, inbound_method_text(choice.inbound_method),
                    choice.inbound_reason));
  if (choice.backend != Backend::Iptables) {
    print(render_capture_rules(chosen));
    return kExitOk;
  }
  print("# iptables-restore --noflush\n" + render_iptables_capture(chosen, Family::V4, ""));
  print("# ip6tables-restore --noflush\n" + render_iptables_capture(chosen, Family::V6, ""));
  return kExitOk;
}

int capture(const Wanted& wanted, bool is_dry_run) {
  if (is_dry_run) return print_capture_rules(wanted);
  auto applied = apply_capture(wanted);
  if (!applied) return report(applied.error(), kExitSetUp);
  print(capture_facts_to_json(*applied));
  return kExitOk;
}

// What was built is taken down again when it cannot be captured.
int apply(const Wanted& wanted, bool is_dry_run) {
  if (is_dry_run) {
    const int exit_code = print_create_plan(wanted);
    return exit_code == kExitOk ? print_capture_rules(wanted) : exit_code;
  }
  auto facts = create_network(wanted);
  if (!facts) return report(facts.error(), kExitSetUp);
  auto captured = apply_capture(wanted);
  if (captured) {
    print(fmt::format("{{\"network\": {},\n\"capture\": {}}}\n", facts_to_json(*facts),
                      capture_facts_to_json(*captured)));
    return kExitOk;
  }
  if (wanted.mode != Mode::Host && wanted.mode != Mode::Join) (void)remove_network(wanted.service);
  return report(captured.error(), kExitSetUp);
}

int uncapture(const Wanted& wanted) {
  auto removed = remove_capture(wanted);
  return removed ? kExitOk : report(removed.error(), kExitSetUp);
}

int remove(const Wanted& wanted) {
  if (wanted.mode == Mode::Host || wanted.mode == Mode::Join) {
    const int exit_code = uncapture(wanted);
    // The service may have had a namespace of its own before its mode was changed.
    if (exit_code != kExitOk || ::access(names_of(wanted.service).netns_path.c_str(), F_OK) != 0) {
      return exit_code;
    }
  }
  auto removed = remove_network(wanted.service);
  if (!removed) return report(removed.error(), kExitSetUp);
  for (const std::string& what : *removed) print(fmt::format("removed {}\n", what));
  return kExitOk;
}

int show(const Wanted& wanted) {
  auto inspection = inspect(wanted);
  if (!inspection) return report(inspection.error(), kExitSetUp);
  print(inspection_to_json(*inspection));
  return kExitOk;
}

// A service's name, or "the namespace that we are in", say nothing about what the rules should be.
bool knows_configuration(const CommandLine& line) {
  if (!line.name.empty()) return false;
  if (!line.is_pod || !line.annotations_file.empty()) return true;
  PodOptions only_where;
  only_where.name = line.pod.name;
  only_where.namespace_path = line.pod.namespace_path;
  return line.pod != only_where;
}

ExamineOptions examine_options(const CommandLine& line) {
  ExamineOptions options;
  options.resolv_conf = line.resolv_conf;
  options.tries_connections = !line.without_trial;
  options.knows_configuration = knows_configuration(line);
  options.app_uids = line.app_uids;
  return options;
}

int verify(const Wanted& wanted, const CommandLine& line) {
  ExamineOptions options = examine_options(line);
  options.tries_connections = options.asks_name_servers = false;
  const bool with_capture = line.with_capture || is_told_by_flags(line);
  const auto findings = diagnose_parts(examine(wanted, options), with_capture);
  print(findings_to_json(findings));
  return exit_code_of(findings);
}

int print_findings(const std::vector<Finding>& findings, bool is_json) {
  print(is_json ? findings_to_json(findings) : findings_to_text(findings));
  return exit_code_of(findings);
}

int doctor(const Wanted& wanted, const CommandLine& line) {
  return print_findings(diagnose(examine(wanted, examine_options(line))), line.is_json);
}

}  // namespace

int run_command(const CommandLine& line) {
  if (line.command == "doctor" && line.leftovers) {
    return print_findings(diagnose_leftovers(find_leftovers(line.running)), line.is_json);
  }
  auto wanted = read_wanted(line);
  if (!wanted) return report(wanted.error(), kExitBadInput);
  if (line.command == "apply") return apply(*wanted, line.is_dry_run);
  if (line.command == "create") return create(*wanted, line.is_dry_run);
  if (line.command == "capture") return capture(*wanted, line.is_dry_run);
  if (line.command == "uncapture") return uncapture(*wanted);
  if (line.command == "remove") return remove(*wanted);
  if (line.command == "show") return show(*wanted);
  if (line.command == "doctor") return doctor(*wanted, line);
  PILLION_ASSERT(line.command == "verify");
  return verify(*wanted, line);
}

}  // namespace pillion::netns
