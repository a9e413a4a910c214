#include "supervisor/host/probe_runner.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "runtime/log.h"
#include "supervisor/host/child_environment.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kDrainTimeout = std::chrono::seconds(2);

NetProbeTarget target_of(const std::optional<config::IpAddress>& address,
                         const std::optional<config::PortRef>& port) {
  NetProbeTarget target;
  target.address = address.value_or(*config::IpAddress::parse("127.0.0.1"));
  target.port = port ? port->number : config::Port{0};
  return target;
}

NetProbeTarget target_of(const config::HttpAction& http) {
  NetProbeTarget target = target_of(http.address, http.port);
  target.is_http = true;
  target.path = http.path;
  target.headers = http.headers;
  return target;
}

bool is_success(NetProbeOutcome outcome) {
  return outcome == NetProbeOutcome::Success || outcome == NetProbeOutcome::Redirected;
}

core::ProbeResult to_result(NetProbeOutcome outcome) {
  switch (outcome) {
    case NetProbeOutcome::Success:
    case NetProbeOutcome::Redirected: return core::ProbeResult::Success;
    case NetProbeOutcome::Failure: return core::ProbeResult::Failure;
    case NetProbeOutcome::Timeout: return core::ProbeResult::Timeout;
    case NetProbeOutcome::Error: break;
  }
  return core::ProbeResult::ProberError;
}

// For a URL, or as gRPC takes it.
std::string address_text(const std::optional<config::IpAddress>& address,
                         const std::optional<config::PortRef>& port) {
  const NetProbeTarget target = target_of(address, port);
  const bool is_v6 = target.address.is_v6();
  return fmt::format("{}{}{}:{}", is_v6 ? "[" : "", target.address.to_string(), is_v6 ? "]" : "",
                     target.port);
}

// Arguments of pillion-probe.
std::vector<std::string> http_arguments(const config::HttpAction& http) {
  std::vector<std::string> words{"http"};
  for (const auto& [name, value] : http.headers) {
    words.insert(words.end(), {"--header", name + ": " + value});
  }
  words.push_back(fmt::format("{}://{}{}", config::name_of(http.scheme),
                              address_text(http.address, http.port), http.path));
  return words;
}

std::vector<std::string> grpc_arguments(const config::GrpcAction& grpc) {
  return {"grpc", "--service", grpc.service, address_text(std::nullopt, grpc.port)};
}

// What pillion-probe found.
NetProbeOutcome outcome_of(const CommandResult& result) {
  if (result.has_timed_out) return NetProbeOutcome::Timeout;
  if (result.is_success()) return NetProbeOutcome::Success;
  const bool has_failed = result.spawn_error.empty() && WIFEXITED(result.wait_status) &&
                          WEXITSTATUS(result.wait_status) == 1;
  return has_failed ? NetProbeOutcome::Failure : NetProbeOutcome::Error;
}

const std::optional<config::Probe>& probe_of(const config::Child& child, core::ProbeKind kind) {
  if (kind == core::ProbeKind::Startup) return child.startup_probe;
  return kind == core::ProbeKind::Readiness ? child.readiness_probe : child.liveness_probe;
}

}  // namespace

ProbeRunner::ProbeRunner(Loop& loop, ProcessHost& processes, Cgroups& cgroups, ServiceSetup& setup,
                         Children& children, const ChildSlots& slots, PostEvent post)
    : loop_(loop),
      processes_(processes),
      cgroups_(cgroups),
      setup_(setup),
      children_(children),
      slots_(slots),
      post_(std::move(post)) {}

ProbeRunner::Purpose ProbeRunner::purpose_of(core::ProbeKind kind) {
  if (kind == core::ProbeKind::Startup) return Purpose::Startup;
  return kind == core::ProbeKind::Readiness ? Purpose::Readiness : Purpose::Liveness;
}

ProbeRunner::Purpose ProbeRunner::purpose_of(core::HookKind kind) {
  return kind == core::HookKind::PostStart ? Purpose::PostStart : Purpose::PreStop;
}

// An older one of the same purpose ends first: never two at once.
ProbeRunner::Run& ProbeRunner::begin(Key key) {
  end(key);
  return runs_[key];
}

// Under way or not.
void ProbeRunner::end(Key key) {
  const auto found = runs_.find(key);
  if (found == runs_.end()) return;
  const auto& command = found->second.command;
  const std::string leaf = command ? command->leaf() : std::string();
  runs_.erase(found);
  if (!leaf.empty()) children_.remove_later(leaf);
}

// Its parts may be the caller: they live until the round is over.
void ProbeRunner::finish(Key key) {
  const auto found = runs_.find(key);
  if (found == runs_.end()) return;
  loop_.defer_delete(std::make_unique<Run>(std::move(found->second)));
  runs_.erase(found);
}

void ProbeRunner::run_net(Key key, const NetProbeTarget& target, Duration timeout,
                          OnOutcome on_outcome) {
  Run& run = begin(key);
  run.net = std::make_unique<NetProbe>(loop_);
  run.net->start(target, setup_.network_namespace(), timeout,
                 [this, key, on_outcome = std::move(on_outcome)](NetProbeOutcome outcome,
                                                                 const std::string& detail) {
                   finish(key);
                   on_outcome(outcome, detail);
                 });
}

void ProbeRunner::run_command(Key key, core::Generation generation, const config::ExecAction& exec,
                              Duration timeout, OnOutcome on_outcome) {
  auto plan = children_.plan_beside(key.first, generation, exec.command);
  if (!plan) {
    answer_later(key, Duration::zero(), NetProbeOutcome::Error, plan.error().message(),
                 std::move(on_outcome));
    return;
  }
  const std::string& child = slots_.at(key.first).name;
  Run& run = begin(key);
  run.command = std::make_unique<CommandRun>(loop_, processes_, cgroups_, child + "/exec",
                                             fmt::format("{}.exec.{}", child, ++command_count_));
  run.command->start(std::move(*plan), {}, timeout,
                     [this, key, on_outcome = std::move(on_outcome)](const CommandResult& result) {
                       finish(key);
                       NetProbeOutcome outcome = NetProbeOutcome::Failure;
                       if (result.is_success()) outcome = NetProbeOutcome::Success;
                       if (result.has_timed_out) outcome = NetProbeOutcome::Timeout;
                       on_outcome(outcome, result.describe());
                     });
}

// In the child's network and nothing else of it: not its user, not its cgroup.
void ProbeRunner::run_program(Key key, std::vector<std::string> arguments, Duration timeout,
                              OnOutcome on_outcome) {
  const config::Child& child = slots_.at(key.first);
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  SpawnPlan plan;
  plan.argv = {program_directory() + "/pillion-probe"};
  plan.argv.insert(plan.argv.end(), arguments.begin(), arguments.end());
  plan.argv.insert(plan.argv.end(), {"--timeout", std::to_string(milliseconds)});
  plan.network_namespace = setup_.network_namespace_of(child);
  plan.drops_privileges = setup_.privileges().is_root;
  Run& run = begin(key);
  run.command =
      std::make_unique<CommandRun>(loop_, processes_, cgroups_, child.name + "/probe",
                                   fmt::format("{}.probe.{}", child.name, ++command_count_));
  run.command->start(std::move(plan), {}, timeout,
                     [this, key, on_outcome = std::move(on_outcome)](const CommandResult& result) {
                       finish(key);
                       const std::string& said = result.standard_output;
                       const std::string line = said.substr(0, said.find('\n'));
                       on_outcome(outcome_of(result), line.empty() ? result.describe() : line);
                     });
}

void ProbeRunner::answer_later(Key key, Duration delay, NetProbeOutcome outcome, std::string detail,
                               OnOutcome on_outcome) {
  Run& run = begin(key);
  run.timer = std::make_unique<Timer>(loop_);
  run.timer->start(
      delay, [this, key, outcome, detail = std::move(detail), on_outcome = std::move(on_outcome)] {
        const OnOutcome answer = on_outcome;  // finish() lets go of this closure
        const std::string text = detail;
        finish(key);
        answer(outcome, text);
      });
}

// A redirect is followed by the program, within the same timeout.
void ProbeRunner::run_http(Key key, const config::HttpAction& http, Duration timeout,
                           OnOutcome on_outcome) {
  const auto began = loop_.now();
  run_net(key, target_of(http), timeout,
          [this, key, http, timeout, began, on_outcome = std::move(on_outcome)](
              NetProbeOutcome outcome, const std::string& detail) {
            const Duration left = timeout - (loop_.now() - began);
            if (outcome != NetProbeOutcome::Redirected || left <= Duration::zero()) {
              return on_outcome(outcome, detail);
            }
            run_program(key, http_arguments(http), left, on_outcome);
          });
}

void ProbeRunner::run(const core::RunProbe& action) {
  const Key key{action.child, purpose_of(action.kind)};
  OnOutcome answer = [this, action](NetProbeOutcome outcome, const std::string& detail) {
    post_(core::ProbeFinished{action.child, action.generation, action.kind, action.sequence,
                              to_result(outcome), detail});
  };
  const auto& probe = probe_of(slots_.at(action.child), action.kind);
  if (probe && probe->exec) {
    return run_command(key, action.generation, *probe->exec, action.timeout, std::move(answer));
  }
  if (probe && probe->http && probe->http->scheme == config::HttpScheme::Http) {
    return run_http(key, *probe->http, action.timeout, std::move(answer));
  }
  if (probe && probe->http) {
    return run_program(key, http_arguments(*probe->http), action.timeout, std::move(answer));
  }
  if (probe && probe->grpc) {
    return run_program(key, grpc_arguments(*probe->grpc), action.timeout, std::move(answer));
  }
  if (probe && probe->tcp) {
    return run_net(key, target_of(probe->tcp->address, probe->tcp->port), action.timeout,
                   std::move(answer));
  }
  answer_later(key, Duration::zero(), NetProbeOutcome::Error, "no probe is configured",
               std::move(answer));
}

void ProbeRunner::cancel(const core::CancelProbe& action) {
  end({action.child, purpose_of(action.kind)});
}

void ProbeRunner::run(const core::RunHook& action) {
  const Key key{action.child, purpose_of(action.kind)};
  OnOutcome answer = [this, action](NetProbeOutcome outcome, const std::string& detail) {
    post_(core::HookFinished{action.child, action.generation, action.kind, is_success(outcome),
                             detail});
  };
  const config::Child& child = slots_.at(action.child);
  const auto& hook = action.kind == core::HookKind::PostStart ? child.post_start : child.pre_stop;
  if (hook && hook->exec) {
    return run_command(key, action.generation, *hook->exec, action.timeout, std::move(answer));
  }
  if (hook && hook->http && hook->http->scheme == config::HttpScheme::Https) {
    return run_program(key, http_arguments(*hook->http), action.timeout, std::move(answer));
  }
  if (hook && hook->http) {
    return run_net(key, target_of(*hook->http), action.timeout, std::move(answer));
  }
  const Duration sleep = hook && hook->sleep ? Duration(*hook->sleep) : Duration::zero();
  answer_later(key, std::min(sleep, action.timeout), NetProbeOutcome::Success, "slept",
               std::move(answer));
}

void ProbeRunner::cancel(const core::CancelHook& action) {
  end({action.child, purpose_of(action.kind)});
}

void ProbeRunner::begin_drain(const core::BeginDrain& action) {
  const config::Child& child = slots_.at(action.child);
  const auto* proxy = std::get_if<config::ProxyConfig>(&child.config);
  if (proxy == nullptr) return;
  NetProbeTarget target;
  target.address = proxy->admin.listen.ip;
  target.port = proxy->admin.listen.port;
  target.is_http = true;
  target.method = "POST";
  target.path = "/drain_listeners";
  run_net({action.child, Purpose::Drain}, target, kDrainTimeout,
          [name = child.name](NetProbeOutcome outcome, const std::string& detail) {
            if (!is_success(outcome)) {
              log::warn("cannot tell {} to drain: {}", name, detail);
            }
          });
}

}  // namespace pillion::supervisor::host
