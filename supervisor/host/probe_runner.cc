#include "supervisor/host/probe_runner.h"

#include <unistd.h>

#include <fmt/format.h>

#include "runtime/log.h"

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

core::ProbeResult to_result(NetProbeOutcome outcome) {
  switch (outcome) {
    case NetProbeOutcome::Success: return core::ProbeResult::Success;
    case NetProbeOutcome::Failure: return core::ProbeResult::Failure;
    case NetProbeOutcome::Timeout: return core::ProbeResult::Timeout;
    case NetProbeOutcome::Error: break;
  }
  return core::ProbeResult::ProberError;
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
  runs_.erase(key);
  return runs_[key];
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
    return run_net(key, target_of(*probe->http), action.timeout, std::move(answer));
  }
  // https and grpc: for now it is enough that the port accepts connections.
  std::optional<NetProbeTarget> target;
  if (probe && probe->http) target = target_of(probe->http->address, probe->http->port);
  if (probe && probe->tcp) target = target_of(probe->tcp->address, probe->tcp->port);
  if (probe && probe->grpc) target = target_of(std::nullopt, probe->grpc->port);
  if (target) return run_net(key, *target, action.timeout, std::move(answer));
  answer_later(key, Duration::zero(), NetProbeOutcome::Error, "no probe is configured",
               std::move(answer));
}

void ProbeRunner::cancel(const core::CancelProbe& action) {
  runs_.erase({action.child, purpose_of(action.kind)});
}

void ProbeRunner::run(const core::RunHook& action) {
  const Key key{action.child, purpose_of(action.kind)};
  OnOutcome answer = [this, action](NetProbeOutcome outcome, const std::string& detail) {
    post_(core::HookFinished{action.child, action.generation, action.kind,
                             outcome == NetProbeOutcome::Success, detail});
  };
  const config::Child& child = slots_.at(action.child);
  const auto& hook = action.kind == core::HookKind::PostStart ? child.post_start : child.pre_stop;
  if (hook && hook->exec) {
    return run_command(key, action.generation, *hook->exec, action.timeout, std::move(answer));
  }
  if (hook && hook->http) {
    return run_net(key, target_of(*hook->http), action.timeout, std::move(answer));
  }
  const Duration sleep = hook && hook->sleep ? Duration(*hook->sleep) : Duration::zero();
  answer_later(key, std::min(sleep, action.timeout), NetProbeOutcome::Success, "slept",
               std::move(answer));
}

void ProbeRunner::cancel(const core::CancelHook& action) {
  runs_.erase({action.child, purpose_of(action.kind)});
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
            if (outcome != NetProbeOutcome::Success) {
              log::warn("cannot tell {} to drain: {}", name, detail);
            }
          });
}

}  // namespace pillion::supervisor::host
