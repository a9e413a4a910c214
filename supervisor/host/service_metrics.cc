#include "supervisor/host/service_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "runtime/fd.h"
#include "supervisor/host/upgrade.h"
#include "supervisor/usage/counters.h"

namespace pillion::supervisor::host {
namespace {

using core::ProbeKind;
using core::ProbeResult;

constexpr ProbeKind kProbeKinds[] = {ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness};
constexpr const char* kProbeResults[] = {"success", "failure", "timeout", "error"};
static_assert(static_cast<int>(ProbeResult::ProberError) == 3);

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::uint64_t resident_bytes() {
  const auto text = read_file("/proc/self/statm");  // proc(5): size resident …, in pages
  if (!text) return 0;
  const auto blank = text->find(' ');
  std::uint64_t pages = 0;
  if (blank != std::string::npos) {
    std::from_chars(text->data() + blank + 1, text->data() + text->size(), pages);
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

double own_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Why a generation ended, from its event's fields.
std::string exit_reason(const control::EventRecord& record) {
  const auto field = [&](const char* name) {
    const auto found = record.fields.find(name);
    return found == record.fields.end() ? std::string() : found->second;
  };
  if (const std::string oom = field("oom"); oom == "true" || oom == "1") return "oom";
  if (!field("signal").empty()) return "signal";
  const std::string code = field("exit_code");
  if (code.empty()) return "unknown";
  return code == "0" ? "success" : "failure";
}

// The one number that a child has of a family; empty = no sample.
struct ChildFamily {
  const char* name;
  MetricType type;
  const char* help;
  std::optional<double> (*value)(const ChildFacts&);
};

std::optional<double> number(std::optional<std::uint64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}
std::optional<double> per_million(std::optional<std::uint64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value) / 1e6;
}
std::optional<double> counter_of(const ChildFacts& facts,
                                 std::optional<std::uint64_t> usage::Counters::*member) {
  return facts.use ? number(facts.use->counters.*member) : std::nullopt;
}
std::optional<double> seconds_counter_of(const ChildFacts& facts,
                                         std::optional<std::uint64_t> usage::Counters::*member) {
  return facts.use ? per_million(facts.use->counters.*member) : std::nullopt;
}
std::optional<double> io_of(const ChildFacts& facts, std::uint64_t usage::IoCounters::*member) {
  if (!facts.use || !facts.use->counters.io) return std::nullopt;
  return static_cast<double>((*facts.use->counters.io).*member);
}
std::optional<double> cores_of(const std::optional<config::MilliCpu>& cpu) {
  if (!cpu) return std::nullopt;
  return cpu->value / 1000.0;
}
std::optional<double> bytes_of(const std::optional<config::Bytes>& bytes) {
  return bytes ? number(bytes->value) : std::nullopt;
}

constexpr MetricType kCounter = MetricType::Counter;
constexpr MetricType kGauge = MetricType::Gauge;
using Facts = const ChildFacts&;
using Counters = usage::Counters;
using Io = usage::IoCounters;

constexpr ChildFamily kStateFamilies[] = {
    {"pillion_child_ready", kGauge, "Whether the child runs and its readiness probe succeeds.",
     [](Facts f) -> std::optional<double> { return f.status.is_ready ? 1 : 0; }},
    {"pillion_child_generation", kGauge, "How often the child was started.",
     [](Facts f) { return number(f.status.generation); }},
    {"pillion_child_restarts_total", kCounter, "Starts of the child again by policy.",
     [](Facts f) { return number(f.status.restarts); }},
    {"pillion_child_last_exit_code", kGauge, "How the generation before ended; 128 + signal.",
     [](Facts f) -> std::optional<double> {
       if (!f.status.last_exit) return std::nullopt;
       return f.status.last_exit->exit_code();
     }},
    {"pillion_child_output_dropped_records_total", kCounter,
     "Records of its output that its log could not take, since the supervisor started.",
     [](Facts f) { return number(f.dropped_records); }},
    {"pillion_child_resized", kGauge, "Whether limits differ from the file since a resize.",
     [](Facts f) -> std::optional<double> { return f.is_resized ? 1 : 0; }},
};

constexpr ChildFamily kUseFamilies[] = {
    {"pillion_child_cpu_usage_seconds_total", kCounter, "CPU time of the present generation.",
     [](Facts f) { return seconds_counter_of(f, &Counters::cpu_microseconds); }},
    {"pillion_child_cpu_limit_cores", kGauge, "CPU limit; absent without one.",
     [](Facts f) { return cores_of(f.config.limits.cpu); }},
    {"pillion_child_cpu_request_cores", kGauge, "CPU request; absent without one.",
     [](Facts f) { return cores_of(f.config.requests.cpu); }},
    {"pillion_child_cpu_periods_total", kCounter, "Periods of the CPU limit in which it ran.",
     [](Facts f) { return counter_of(f, &Counters::periods); }},
    {"pillion_child_cpu_throttled_periods_total", kCounter,
     "Periods in which the CPU limit was used up.",
     [](Facts f) { return counter_of(f, &Counters::throttled_periods); }},
    {"pillion_child_cpu_throttled_seconds_total", kCounter, "Time it was held back by its limit.",
     [](Facts f) { return seconds_counter_of(f, &Counters::throttled_microseconds); }},
    {"pillion_child_memory_usage_bytes", kGauge, "Memory, file cache included.",
     [](Facts f) { return counter_of(f, &Counters::memory_bytes); }},
    {"pillion_child_memory_working_set_bytes", kGauge,
     "Memory without file cache that nobody used lately.",
     [](Facts f) { return counter_of(f, &Counters::working_set_bytes); }},
    {"pillion_child_memory_peak_bytes", kGauge, "Most memory of the present generation.",
     [](Facts f) { return counter_of(f, &Counters::memory_peak_bytes); }},
    {"pillion_child_memory_swap_bytes", kGauge, "Swap in use.",
     [](Facts f) { return counter_of(f, &Counters::swap_bytes); }},
    {"pillion_child_memory_limit_bytes", kGauge, "Memory limit; absent without one.",
     [](Facts f) { return bytes_of(f.config.limits.memory); }},
    {"pillion_child_memory_request_bytes", kGauge, "Memory request; absent without one.",
     [](Facts f) { return bytes_of(f.config.requests.memory); }},
    {"pillion_child_memory_limit_hits_total", kCounter, "How often the limit was in the way.",
     [](Facts f) { return counter_of(f, &Counters::memory_limit_hits); }},
    {"pillion_child_processes", kGauge, "Processes and threads.",
     [](Facts f) { return counter_of(f, &Counters::pids); }},
    {"pillion_child_processes_limit", kGauge, "Limit of processes and threads.",
     [](Facts f) -> std::optional<double> {
       if (!f.config.limits.pids) return std::nullopt;
       return *f.config.limits.pids;
     }},
    {"pillion_child_io_read_bytes_total", kCounter, "Read from block devices.",
     [](Facts f) { return io_of(f, &Io::read_bytes); }},
    {"pillion_child_io_written_bytes_total", kCounter, "Written to block devices.",
     [](Facts f) { return io_of(f, &Io::write_bytes); }},
    {"pillion_child_io_reads_total", kCounter, "Reads from block devices.",
     [](Facts f) { return io_of(f, &Io::read_operations); }},
    {"pillion_child_io_writes_total", kCounter, "Writes to block devices.",
     [](Facts f) { return io_of(f, &Io::write_operations); }},
};

using PressureMember = std::optional<usage::Pressure> usage::Counters::*;
constexpr std::pair<const char*, PressureMember> kPressures[] = {
    {"cpu", &Counters::cpu_pressure},
    {"memory", &Counters::memory_pressure},
    {"io", &Counters::io_pressure}};

}  // namespace

ServiceMetrics::ServiceMetrics(std::string service) : service_(std::move(service)) {}

void ServiceMetrics::on_record(const control::EventRecord& record) {
  if (record.kind == "service_preparing") {
    events_.clear();
    children_.clear();
    time_to_ready_.reset();
    preparing_ = record.boot;
  }
  ++events_[record.level];
  if (record.kind == "service_ready" && !time_to_ready_ && preparing_ > Duration::zero()) {
    time_to_ready_ = seconds_of(record.boot - preparing_);
  }
  if (!record.child.empty()) on_child_record(record, children_[record.child]);
}

void ServiceMetrics::on_child_record(const control::EventRecord& record, ChildHistory& child) {
  Steps& steps = child.steps;
  const auto step = [&](Duration& to, Duration from, Phases& phases, const char* name) {
    if (to != Duration::zero()) return;  // becomes ready, and not ready, and ready again
    to = record.boot;
    if (from != Duration::zero()) phases[name] = seconds_of(to - from);
  };
  if (record.kind == "child_spawning") {
    steps = Steps{};
    steps.spawned = record.boot;
    child.start_phases.clear();
    child.time_to_ready.reset();
  } else if (record.kind == "child_executed") {
    step(steps.executed, steps.spawned, child.start_phases, "exec");
  } else if (record.kind == "child_started") {
    step(steps.started, steps.executed, child.start_phases, "gate");
  } else if (record.kind == "child_ready") {
    step(steps.ready, steps.started, child.start_phases, "ready");
    if (steps.spawned != Duration::zero() && !child.time_to_ready) {
      child.time_to_ready = seconds_of(steps.ready - steps.spawned);
    }
  } else if (record.kind == "pre_stop_started") {
    steps.pre_stop = record.boot;
  } else if (record.kind == "child_stopping") {
    steps.stopping = record.boot;
  } else if (record.kind == "child_killed") {
    steps.killed = record.boot;
  } else if (record.kind == "child_exited") {
    on_end(record, child);
  }
}

void ServiceMetrics::on_end(const control::EventRecord& record, ChildHistory& child) {
  ++child.exits[exit_reason(record)];
  const Steps& steps = child.steps;
  Phases phases;
  const Duration none{};
  const Duration last = steps.killed != none ? steps.killed : record.boot;
  const Duration told = steps.stopping != none ? steps.stopping : last;
  if (steps.pre_stop != none) phases["pre_stop"] = seconds_of(told - steps.pre_stop);
  if (steps.stopping != none) phases["stop"] = seconds_of(last - steps.stopping);
  if (steps.killed != none) phases["kill"] = seconds_of(record.boot - steps.killed);
  // One that ended by itself was not stopped.
  if (!phases.empty()) child.stop_phases = std::move(phases);
  child.steps = Steps{};
}

void ServiceMetrics::on_probe_started(const core::RunProbe& action, MonotonicTime now) {
  running_probes_[{action.child, action.kind}] = {action.sequence, now};
}

void ServiceMetrics::on_probe_finished(const std::string& child, const core::ProbeFinished& event,
                                       MonotonicTime now) {
  const auto running = running_probes_.find({event.child, event.kind});
  if (running == running_probes_.end() || running->second.first != event.sequence) return;
  const double seconds = seconds_of(now - running->second.second);
  running_probes_.erase(running);
  static const std::vector<double> bounds = latency_bounds_seconds();
  ProbeHistory& probe = probes_[{child, event.kind}];
  probe.counts.resize(bounds.size() + 1);
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
  ++probe.counts[static_cast<std::size_t>(bucket)];
  ++probe.results[static_cast<std::size_t>(event.result)];
  probe.seconds += seconds;
}

Labels ServiceMetrics::labels(const std::string& child, Labels more) const {
  Labels all = {{"service", service_}};
  if (!child.empty()) all.emplace_back("child", child);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

void ServiceMetrics::write_service(MetricsWriter& writer, const ServiceFacts& facts) const {
  const core::ServiceStatus& status = facts.status;
  writer.begin_family("pillion_build_info", kGauge, "Version of the supervisor; always 1.");
  writer.sample(labels("", {{"version", program_version()}}), std::uint64_t{1});
  writer.begin_family("pillion_service_state", kGauge, "1 for the state that the service is in.");
  for (const core::ServiceState state : core::kServiceStates) {
    writer.sample(labels("", {{"state", std::string(core::to_string(state))}}),
                  std::uint64_t{state == status.state});
  }
  writer.begin_family("pillion_service_ready", kGauge,
                      "Whether every child is ready and no stop was asked for.");
  writer.sample(labels(""), std::uint64_t{status.is_ready});
  writer.begin_family("pillion_service_uptime_seconds", kGauge, "Since the service was started.");
  writer.sample(labels(""), seconds_of(status.up_for));
  writer.begin_family("pillion_service_time_to_ready_seconds", kGauge,
                      "From the start of the service until it was first ready.");
  if (time_to_ready_) writer.sample(labels(""), *time_to_ready_);
  writer.begin_family("pillion_service_stop_remaining_seconds", kGauge,
                      "While stopping: until everything left is killed.");
  if (status.stop_deadline_in) writer.sample(labels(""), seconds_of(*status.stop_deadline_in));
  writer.begin_family("pillion_events_total", kCounter,
                      "Events of the service's history since its start, by level.");
  for (const auto& [level, count] : events_) writer.sample(labels("", {{"level", level}}), count);
}

void ServiceMetrics::write_last_stop(MetricsWriter& writer) const {
  writer.begin_family("pillion_service_last_stop_seconds", kGauge,
                      "How long the stop before this start took.");
  if (last_stop_) writer.sample(labels(""), seconds_of(last_stop_->total));
  writer.begin_family("pillion_service_last_stop_phase_seconds", kGauge,
                      "The phases of that stop, the drain among them.");
  if (last_stop_) {
    for (const core::ReceiptPhase& phase : last_stop_->phases) {
      writer.sample(labels("", {{"phase", phase.name}}), seconds_of(phase.duration));
    }
  }
  writer.begin_family("pillion_service_last_stop_killed_children", kGauge,
                      "Children that had to be killed in that stop.");
  if (last_stop_) writer.sample(labels(""), std::uint64_t{last_stop_->killed.size()});
}

void ServiceMetrics::write_supervisor(MetricsWriter& writer, const ServiceFacts& facts) const {
  writer.begin_family("pillion_supervisor_restarts_total", kCounter,
                      "How often the supervisor itself was started again.");
  writer.sample(labels(""), static_cast<std::uint64_t>(facts.supervisor_restarts));
  writer.begin_family("pillion_supervisor_cpu_seconds_total", kCounter,
                      "CPU time of the supervisor.");
  writer.sample(labels(""), own_cpu_seconds());
  writer.begin_family("pillion_supervisor_resident_memory_bytes", kGauge,
                      "Resident memory of the supervisor.");
  writer.sample(labels(""), resident_bytes());
}

void ServiceMetrics::write_states(MetricsWriter& writer, const ServiceFacts& facts) const {
  writer.begin_family("pillion_child_info", kGauge, "Role and component of the child; always 1.");
  for (const ChildFacts& child : facts.children) {
    const auto& use = child.config.use;
    writer.sample(
        labels(child.status.name, {{"role", std::string(config::name_of(child.config.role))},
                                   {"component", use ? std::string(config::name_of(*use)) : ""}}),
        std::uint64_t{1});
  }
  writer.begin_family("pillion_child_state", kGauge, "1 for the state that the child is in.");
  for (const ChildFacts& child : facts.children) {
    for (const core::ChildState state : core::kChildStates) {
      writer.sample(labels(child.status.name, {{"state", std::string(core::to_string(state))}}),
                    std::uint64_t{state == child.status.state});
    }
  }
  for (const ChildFamily& family : kStateFamilies) {
    writer.begin_family(family.name, family.type, family.help);
    for (const ChildFacts& child : facts.children) {
      if (const auto value = family.value(child)) writer.sample(labels(child.status.name), *value);
    }
  }
}

void ServiceMetrics::write_lives(MetricsWriter& writer) const {
  writer.begin_family("pillion_child_exits_total", kCounter,
                      "Ends of the child's main process, by reason.");
  for (const auto& [name, child] : children_) {
    for (const auto& [reason, count] : child.exits) {
      writer.sample(labels(name, {{"reason", reason}}), count);
    }
  }
  writer.begin_family("pillion_child_time_to_ready_seconds", kGauge,
                      "From the start of the present generation until it was ready.");
  for (const auto& [name, child] : children_) {
    if (child.time_to_ready) writer.sample(labels(name), *child.time_to_ready);
  }
  const auto write_phases = [&](const char* family, const char* help, auto member) {
    writer.begin_family(family, kGauge, help);
    for (const auto& [name, child] : children_) {
      for (const auto& [phase, seconds] : child.*member) {
        writer.sample(labels(name, {{"phase", phase}}), seconds);
      }
    }
  };
  write_phases("pillion_child_start_phase_seconds", "Parts of the present generation's start.",
               &ChildHistory::start_phases);
  write_phases("pillion_child_stop_phase_seconds", "Parts of the child's last stop.",
               &ChildHistory::stop_phases);
}

void ServiceMetrics::write_probes(MetricsWriter& writer) const {
  writer.begin_family("pillion_probe_results_total", kCounter, "Probes by their result.");
  for (const auto& [key, probe] : probes_) {
    for (std::size_t i = 0; i < probe.results.size(); ++i) {
      writer.sample(labels(key.first, {{"probe", std::string(core::to_string(key.second))},
                                       {"result", kProbeResults[i]}}),
                    probe.results[i]);
    }
  }
  writer.begin_family("pillion_probe_duration_seconds", MetricType::Histogram,
                      "How long probes took, from start to result.");
  for (const ProbeKind kind : kProbeKinds) {
    for (const auto& [key, probe] : probes_) {
      if (key.second != kind) continue;
      writer.histogram(labels(key.first, {{"probe", std::string(core::to_string(kind))}}),
                       latency_bounds_seconds(), probe.counts, probe.seconds);
    }
  }
}

void ServiceMetrics::write_use(MetricsWriter& writer, const ServiceFacts& facts) const {
  for (const ChildFamily& family : kUseFamilies) {
    writer.begin_family(family.name, family.type, family.help);
    for (const ChildFacts& child : facts.children) {
      if (const auto value = family.value(child)) writer.sample(labels(child.status.name), *value);
    }
  }
  writer.begin_family("pillion_child_oom_kills_total", kCounter,
                      "Processes killed for lack of memory: the main one, or others.");
  for (const ChildFacts& child : facts.children) {
    writer.sample(labels(child.status.name, {{"victim", "main"}}), child.oom_kills.main);
    writer.sample(labels(child.status.name, {{"victim", "other"}}), child.oom_kills.others);
  }
}

// Pressure stall information; absent where the kernel does not tell.
void ServiceMetrics::write_pressure(MetricsWriter& writer, const ServiceFacts& facts) const {
  const auto write = [&](bool is_stalled, const usage::Pressure& pressure, Labels labels) {
    const auto total = is_stalled ? pressure.full_microseconds : pressure.some_microseconds;
    writer.sample(labels, static_cast<double>(total) / 1e6);
  };
  for (const bool is_stalled : {false, true}) {
    writer.begin_family(is_stalled ? "pillion_child_pressure_stalled_seconds_total"
                                   : "pillion_child_pressure_waiting_seconds_total",
                        kCounter,
                        is_stalled ? "Time in which all its tasks waited for the resource."
                                   : "Time in which some of its tasks waited for the resource.");
    for (const ChildFacts& child : facts.children) {
      for (const auto& [resource, member] : kPressures) {
        if (!child.use || !(child.use->counters.*member)) continue;
        write(is_stalled, *(child.use->counters.*member),
              labels(child.status.name, {{"resource", resource}}));
      }
    }
  }
  for (const bool is_stalled : {false, true}) {
    writer.begin_family(is_stalled ? "pillion_host_pressure_stalled_seconds_total"
                                   : "pillion_host_pressure_waiting_seconds_total",
                        kCounter,
                        is_stalled ? "Time in which all tasks of the machine waited."
                                   : "Time in which some tasks of the machine waited.");
    for (const auto& [resource, member] : kPressures) {
      const auto pressure = usage::host_pressure(resource);
      if (pressure) write(is_stalled, *pressure, labels("", {{"resource", resource}}));
    }
  }
}

std::string ServiceMetrics::render(const ServiceFacts& facts) const {
  std::string text;
  MetricsWriter writer(text);
  write_service(writer, facts);
  write_last_stop(writer);
  write_supervisor(writer, facts);
  write_states(writer, facts);
  write_lives(writer);
  write_probes(writer);
  write_use(writer, facts);
  write_pressure(writer, facts);
  return text;
}

}  // namespace pillion::supervisor::host
