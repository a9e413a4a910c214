#include "supervisor/host/resources.h"

#include <cerrno>
#include <csignal>

#include <fmt/format.h>

#include "runtime/log.h"
#include "supervisor/host/cgroup_files.h"
#include "supervisor/host/child_environment.h"
#include "supervisor/usage/quantity_text.h"

namespace pillion::supervisor::host {

Resources::Resources(Loop& loop, Cgroups& cgroups, const config::Service& service,
                     const ServicePaths& paths, OnReport on_report)
    : cgroups_(cgroups),
      service_(service),
      on_report_(on_report),
      resizes_(paths.runtime + "/resize.json"),
      watch_(loop, cgroups,
             {service.name(), paths.state + "/usage.json", service.settings.usage_period},
             on_report),
      ends_(loop, on_report) {}

void Resources::start(bool is_restart) {
  if (is_restart) {
    resizes_.read();
  } else {
    resizes_.forget_all();
  }
  watch_.start();
}

void Resources::finish() {
  watch_.finish();
  resizes_.forget_all();
}

CgroupLimits Resources::limits_of(const config::Child& child) const {
  return cgroup_limits_of(resizes_.effective(child));
}

void Resources::generation_started(const config::Child& child, core::Generation generation,
                                   const std::string& leaf, pid_t pid) {
  watch_.watch({child.name, generation, leaf, pid, child.oom_group, true, true});
}

void Resources::generation_adopted(const config::Child& child, core::Generation generation,
                                   const std::string& leaf, pid_t pid, bool has_exited) {
  watch_.watch({child.name, generation, leaf, pid, child.oom_group, false, has_exited});
  if (has_exited || resizes_.of(child.name).empty()) return;
  // The supervisor before us may have died between writing a change down and carrying it out.
  if (auto updated = cgroups_.update(leaf, limits_of(child), {}); !updated) {
    log::warn("{}: {}", child.name, updated.error().message());
  }
}

void Resources::generation_killing(const std::string& child, core::Generation generation,
                                   const std::string& leaf, pid_t pid) {
  ends_.killing(child, generation, leaf, pid, read_pids(cgroups_.paths(leaf).procs));
}

void Resources::explain_exit(const std::string& leaf, bool is_killed_by_us,
                             core::ExitStatus& status) {
  const bool is_kill = status.kind == core::ExitStatus::Kind::Signaled && status.value == SIGKILL;
  if (!is_kill) return;
  if (is_killed_by_us) {
    status.detail = ends_.detail(leaf);
    return;
  }
  if (const auto oom = watch_.judge_kill(leaf)) {
    status.is_oom_kill = true;
    status.detail = oom->describe();
  }
}

void Resources::generation_ended(const std::string& leaf) {
  watch_.forget(leaf);
  ends_.ended(leaf);
}

// A limit below what is in use makes the kernel kill, or refuse.
Result<void> Resources::check_use(const config::Child& before, const config::Child& after) {
  const auto leaf = watch_.leaf_of(after.name);
  const auto use = leaf ? watch_.current(*leaf) : std::nullopt;
  if (!use) return {};
  const auto& in_use = use->counters.working_set_bytes;
  const auto& memory = after.limits.memory;
  if (memory && memory != before.limits.memory && in_use && memory->value < *in_use) {
    return fail(fmt::format(
        "{} uses {} now, limits.memory = {} is below that and the kernel would kill it", after.name,
        usage::describe_bytes(static_cast<double>(*in_use)), to_string(*memory)));
  }
  const auto& pids = after.limits.pids;
  const auto& running = use->counters.pids;
  if (pids && pids != before.limits.pids && running && *pids < *running) {
    return fail(fmt::format(
        "{} has {} processes and threads now, limits.pids = {} is below that and no new one could "
        "start",
        after.name, *running, *pids));
  }
  return {};
}

Result<void> Resources::change(const config::Child& child, const config::Child& before,
                               const config::Child& after) {
  const CgroupLimits limits = cgroup_limits_of(after);
  const auto leaf = watch_.leaf_of(child.name);
  if (!leaf) return {};  // its next generation gets them
  auto updated = cgroups_.update(*leaf, limits, cgroup_limits_of(before));
  if (!updated) {
    // Half a change is worse than none.
    static_cast<void>(cgroups_.update(*leaf, cgroup_limits_of(before), limits));
  }
  return updated;
}

Result<void> Resources::resize(const config::Child& child, const LimitChanges& changes,
                               bool is_forced) {
  const config::Child before = resizes_.effective(child);
  config::Child after = before;
  for (const auto& [key, value] : changes) {
    if (auto applied = apply_change(after, key, value); !applied) return applied;
  }
  if (auto checked = check_resources(after); !checked) return checked;
  for (const UnenforcedSetting& setting : cgroups_.unenforced(cgroup_limits_of(after))) {
    if (!changes.contains(setting.key)) continue;
    return fail(fmt::format("{} cannot be enforced here: {}", setting.key, setting.reason));
  }
  if (!is_forced) {
    if (auto fits = check_use(before, after); !fits) {
      return fail(fits.error().message() + "; give it more, or use --force");
    }
  }
  // Written down first: a supervisor that dies in between would leave a limit that nobody knows of.
  const LimitChanges kept_before = resizes_.of(child.name);
  if (auto kept = resizes_.add(child, changes); !kept) return kept;
  if (auto changed = change(child, before, after); !changed) {
    resizes_.restore(child.name, kept_before);
    if (changed.error().errno_value() != EBUSY) return changed;
    return fail(changed.error().wrap("the kernel cannot reclaim enough memory at once"));
  }
  core::Report report;
  report.kind = core::EventKind::ChildLimitsSet;
  report.child = child.name;
  report.text = child.name + ": limits changed while it runs:";
  for (const auto& [key, value] : changes) {
    report.text += fmt::format(" {} = {}", key, value);
    report.fields[key] = value;
  }
  on_report_(report);
  return {};
}

Result<void> Resources::reset(const config::Child& child) {
  if (auto changed = change(child, resizes_.effective(child), child); !changed) return changed;
  resizes_.forget(child.name);
  core::Report report;
  report.kind = core::EventKind::ChildLimitsSet;
  report.child = child.name;
  report.text = child.name + ": limits are as the file says again";
  on_report_(report);
  return {};
}

void Resources::follow_file(const config::Service& before) {
  for (const config::Child& child : service_.children) {
    const config::Child* old = before.find(child.name);
    if (old == nullptr) continue;
    const config::Child now = resizes_.effective(*old);
    auto changed = check_use(now, child);
    if (changed) changed = change(child, now, child);
    if (!changed) {
      log::warn("{}: the running generation keeps its limits, the next one has the new ones: {}",
                child.name, changed.error().message());
    }
  }
  resizes_.forget_all();
  watch_.set_period(service_.settings.usage_period);
}

control::ChildUsage Resources::usage_of(const config::Child& child, core::Generation generation) {
  control::ChildUsage usage;
  const config::Limits limits = resizes_.effective(child).limits;
  if (limits.memory) usage.memory_limit_bytes = limits.memory->value;
  if (limits.cpu) usage.cpu_limit = limits.cpu->value / 1000.0;
  usage.notes = watch_.notes(child.name);
  for (std::string& note : ends_.notes(child.name)) usage.notes.push_back(std::move(note));
  const auto counts = watch_.oom_counts(child.name);
  usage.oom_kills = counts.main + counts.others;
  const auto use = watch_.current(leaf_name(child.name, generation));
  if (!use) return usage;
  const usage::Counters& counters = use->counters;
  usage.memory_bytes = counters.memory_bytes;
  usage.memory_peak_bytes = counters.memory_peak_bytes;
  if (counters.cpu_microseconds) {
    usage.cpu_seconds = static_cast<double>(*counters.cpu_microseconds) / 1e6;
  }
  usage.cpu = use->cpu;
  usage.throttled_share = use->throttled_share;
  usage.processes = counters.pids;
  return usage;
}

ChildFacts Resources::facts_of(const config::Child& child, const core::ChildStatus& status) {
  ChildFacts facts;
  facts.status = status;
  facts.config = resizes_.effective(child);
  facts.use = watch_.current(leaf_name(child.name, status.generation));
  facts.oom_kills = watch_.oom_counts(child.name);
  facts.is_resized = !resizes_.of(child.name).empty();
  return facts;
}

std::vector<std::string> Resources::remarks() const {
  std::vector<std::string> remarks;
  for (const config::Child& child : service_.children) {
    for (const UnenforcedSetting& setting : cgroups_.unenforced(cgroup_limits_of(child))) {
      remarks.push_back(
          fmt::format("{}: {} is not enforced: {}", child.name, setting.key, setting.reason));
    }
  }
  for (std::string& line : resizes_.differences(service_)) remarks.push_back(std::move(line));
  return remarks;
}

}  // namespace pillion::supervisor::host
