#include "supervisor/host/resource_watch.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include <fmt/format.h>

#include "runtime/log.h"
#include "supervisor/host/cgroup_files.h"
#include "supervisor/usage/process_look.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kThrottlingSpan = std::chrono::seconds(60);
constexpr std::uint64_t kThrottlingPeriodsMin = 20;  // of 100 ms; fewer say nothing
constexpr double kThrottledMuch = 0.25;
constexpr double kThrottledLittle = 0.05;
constexpr auto kHistoryPeriod = std::chrono::seconds(60);
constexpr auto kKernelLogSpan = std::chrono::seconds(20);
// The kernel announces that memory is short before it counts whom it killed.
constexpr auto kOomLookPeriod = std::chrono::milliseconds(20);
constexpr int kOomLooks = 50;

// "/pillion-orders/app.2" of the group's directory: what the kernel's log ends with, whatever part
// of the hierarchy is mounted here.
std::string tail_of(const std::string& directory, int parts) {
  auto at = directory.size();
  for (int i = 0; i < parts && at != std::string::npos && at > 0; ++i) {
    at = directory.rfind('/', at - 1);
  }
  return at == std::string::npos ? directory : directory.substr(at);
}

bool is_dying(pid_t pid) {
  const auto look = usage::look_at(pid);
  return !look || look->state == 'Z' || look->state == 'X' ||
         ((look->pending >> (SIGKILL - 1)) & 1) != 0;
}

}  // namespace

ResourceWatch::ResourceWatch(Loop& loop, Cgroups& cgroups, Options options, OnReport on_report)
    : loop_(loop),
      cgroups_(cgroups),
      options_(std::move(options)),
      on_report_(std::move(on_report)),
      beginning_(loop),
      sampling_(loop),
      oom_look_(loop) {}

void ResourceWatch::start() {
  if (const auto text = read_file(options_.history_file)) {
    auto history = usage::parse_history(*text);
    if (history) {
      history_ = std::move(*history);
    } else {
      log::warn("{}: {}; starting a new one", options_.history_file, history.error().message());
    }
  }
  if (!cgroups_.can_track()) return;
  written_at_ = clock_.now();
  sampling_.start(options_.period, options_.period, [this] { sample(); });
}

void ResourceWatch::set_period(Duration period) {
  if (period == options_.period || !sampling_.is_active()) return;
  options_.period = period;
  sampling_.start(period, period, [this] { sample(); });
}

void ResourceWatch::finish() {
  beginning_.stop();
  sampling_.stop();
  oom_look_.stop();
  watched_.clear();
  inotify_poll_.reset();
  if (cgroups_.can_track()) write_history();
}

void ResourceWatch::watch(const WatchedGeneration& generation) {
  if (!cgroups_.can_track()) return;
  auto watched = std::make_unique<Watched>(generation, cgroups_.paths(generation.leaf));
  // A new group is read once nothing is waiting to be spawned any more.
  watched->samples.push_back({clock_.now(), {}});
  if (generation.is_new) {
    usage::ChildHistory& history = history_[generation.child];
    ++history.generations;
    if (history.first_seen == 0) history.first_seen = wall_seconds();
    beginning_.start(Duration::zero(), [this] {
      for (auto& [leaf, each] : watched_) begin(*each);
    });
  } else {
    begin(*watched);
    // What an earlier supervisor saw it has told.
    const auto kills = watched->samples.back().counters.oom_kills.value_or(0);
    watched->oom_kills_told = generation.is_untold ? 0 : kills;
  }
  watched_[generation.leaf] = std::move(watched);
}

void ResourceWatch::begin(Watched& watched) {
  if (std::exchange(watched.has_begun, true)) return;
  watched.samples.back() = {clock_.now(), watched.reader.read_basic()};
  const usage::CgroupPaths& paths = watched.reader.paths();
  watched.hits = usage::read_limit_hits(paths.memory, paths.is_v2);
  listen_for_oom(watched);
}

void ResourceWatch::forget(const std::string& leaf) {
  const auto found = watched_.find(leaf);
  if (found == watched_.end()) return;
  Watched& watched = *found->second;
  const usage::Counters last = watched.reader.read_all();
  usage::ChildHistory& history = history_[watched.who.child];
  history.memory_peak_bytes =
      std::max(history.memory_peak_bytes, last.memory_peak_bytes.value_or(0));
  if (watched.inotify_watch >= 0) ::inotify_rm_watch(inotify_.get(), watched.inotify_watch);
  watched_.erase(found);
}

void ResourceWatch::sample() {
  for (auto& [leaf, watched] : watched_) {
    sample_one(*watched);
    tell_oom(*watched, watched->samples.back().counters.oom_kills.value_or(0));
  }
  if (clock_.now() - written_at_ >= kHistoryPeriod) write_history();
}

void ResourceWatch::sample_one(Watched& watched) {
  begin(watched);
  const MonotonicTime at = clock_.now();
  const usage::Counters counters = watched.reader.read_basic();
  usage::ChildHistory& history = history_[watched.who.child];
  const Sample& before = watched.samples.back();
  const double seconds = std::chrono::duration<double>(at - before.at).count();
  if (counters.cpu_microseconds && before.counters.cpu_microseconds && seconds > 0) {
    const auto used = *counters.cpu_microseconds - *before.counters.cpu_microseconds;
    history.cpu_millis.add(static_cast<double>(used) / 1000 / seconds);
    history.observed_seconds += seconds;
    history.last_seen = wall_seconds();
  }
  if (counters.working_set_bytes) {
    history.working_set_bytes.add(static_cast<double>(*counters.working_set_bytes));
  }
  history.processes_max = std::max(history.processes_max, counters.pids.value_or(0));
  history.memory_peak_bytes =
      std::max(history.memory_peak_bytes, counters.memory_bytes.value_or(0));
  watched.samples.push_back({at, counters});
  while (watched.samples.size() > 2 && at - watched.samples[1].at >= kThrottlingSpan) {
    watched.samples.pop_front();
  }
  watch_throttling(watched);
  remember_top(watched, counters);
}

std::optional<double> ResourceWatch::throttled_share(const Watched& watched) {
  const usage::Counters& first = watched.samples.front().counters;
  const usage::Counters& last = watched.samples.back().counters;
  if (!first.periods || !last.periods || !first.throttled_periods || !last.throttled_periods) {
    return std::nullopt;
  }
  const std::uint64_t periods = *last.periods - *first.periods;
  if (periods == 0) return 0;
  return static_cast<double>(*last.throttled_periods - *first.throttled_periods) /
         static_cast<double>(periods);
}

void ResourceWatch::watch_throttling(Watched& watched) {
  const auto share = throttled_share(watched);
  const usage::Counters& first = watched.samples.front().counters;
  const usage::Counters& last = watched.samples.back().counters;
  if (!share || *last.periods - *first.periods < kThrottlingPeriodsMin) return;
  if (*share < kThrottledLittle) watched.is_throttled = false;
  if (*share < kThrottledMuch || watched.is_throttled) return;
  watched.is_throttled = true;
  core::Report report;
  report.level = core::Report::Level::Warning;
  report.kind = core::EventKind::ChildThrottled;
  report.child = watched.who.child;
  report.generation = watched.who.generation;
  report.text = fmt::format(
      "{} is held back by limits.cpu: it was throttled in {:.0f}% of the periods in which it ran; "
      "raise limits.cpu, `pillion recommend {}` says how far",
      watched.who.child, *share * 100, options_.service);
  report.fields = {{"share", fmt::format("{:.2f}", *share)}};
  on_report_(report);
}

// Who had the memory is gone from /proc after a kill; so it is noted when little is left.
void ResourceWatch::remember_top(Watched& watched, const usage::Counters& counters) {
  const auto& paths = watched.reader.paths();
  if (!counters.memory_bytes) return;
  const std::uint64_t limit =
      read_cgroup_number(paths.memory + (paths.is_v2 ? "/memory.max" : "/memory.limit_in_bytes"));
  if (limit == 0 || *counters.memory_bytes < limit / 5 * 4) return;
  watched.top = usage::largest_processes(paths.procs, usage::kTopMax);
}

void ResourceWatch::listen_for_oom(Watched& watched) {
  const usage::CgroupPaths& paths = watched.reader.paths();
  if (paths.memory.empty()) return;
  if (paths.is_v2) {
    if (!inotify_) {
      inotify_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
      if (!inotify_) return;
      inotify_poll_.emplace(loop_, inotify_.get());
      inotify_poll_->start(kReadable, [this](int, int) { on_inotify(); });
    }
    const std::string file = paths.memory + "/memory.events";
    watched.inotify_watch = ::inotify_add_watch(inotify_.get(), file.c_str(), IN_MODIFY);
    return;
  }
  // Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control". Where it is refused, sampling
  // finds the kill a little later.
  auto control = open_file(paths.memory + "/memory.oom_control", O_RDONLY);
  Fd event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!control || !event) return;
  if (!write_cgroup_file(paths.memory + "/cgroup.event_control",
                         fmt::format("{} {}", event.get(), control->get()))) {
    return;
  }
  watched.oom_event = std::move(event);
  watched.oom_poll.emplace(loop_, watched.oom_event.get());
  watched.oom_poll->start(kReadable, [this, fd = watched.oom_event.get()](int, int) {
    std::uint64_t count = 0;
    static_cast<void>(!::read(fd, &count, sizeof count));
    on_memory_event();
  });
}

void ResourceWatch::on_inotify() {
  char buffer[4096];
  while (::read(inotify_.get(), buffer, sizeof buffer) > 0) {
  }
  on_memory_event();
}

void ResourceWatch::on_memory_event() {
  oom_looks_left_ = kOomLooks;
  if (!oom_look_.is_active()) {
    oom_look_.start(kOomLookPeriod, kOomLookPeriod, [this] { look_for_oom(); });
  }
}

void ResourceWatch::look_for_oom() {
  for (auto& [leaf, watched] : watched_) {
    tell_oom(*watched, watched->reader.oom_kills().value_or(0));
  }
  if (--oom_looks_left_ <= 0) oom_look_.stop();
}

bool ResourceWatch::tell_oom(Watched& watched, std::uint64_t kills) {
  if (kills <= watched.oom_kills_told) return false;
  // Its exit is told with this reason, by judge_kill().
  if (is_dying(watched.who.pid)) return false;
  const std::uint64_t count = kills - watched.oom_kills_told;
  watched.oom_kills_told = kills;
  usage::OomReport oom = make_report(watched, false, count);
  history_[watched.who.child].oom_kills += count;
  oom_counts_[watched.who.child].others += count;
  // What memory.oom.group does in the kernel where there is v2.
  const bool ends_group = watched.who.has_oom_group && !watched.reader.paths().is_v2;
  core::Report report;
  report.level = core::Report::Level::Warning;
  report.kind = core::EventKind::ChildOomKilled;
  report.child = watched.who.child;
  report.generation = watched.who.generation;
  report.text = fmt::format("{} lost a process for lack of memory: {}{}", watched.who.child,
                            oom.describe(), ends_group ? "; oom_group ends the rest of it" : "");
  report.fields = oom.fields();
  on_report_(report);
  if (!ends_group) return true;
  oom.is_main = true;
  watched.group_kill = std::move(oom);
  cgroups_.kill(watched.who.leaf);
  return true;
}

std::optional<usage::OomReport> ResourceWatch::judge_kill(const std::string& leaf) {
  const auto found = watched_.find(leaf);
  if (found == watched_.end()) return std::nullopt;
  Watched& watched = *found->second;
  begin(watched);
  OomCounts& counts = oom_counts_[watched.who.child];
  if (watched.group_kill) {
    ++counts.main;
    return watched.group_kill;
  }
  const std::uint64_t kills = watched.reader.oom_kills().value_or(0);
  if (kills <= watched.oom_kills_told) return std::nullopt;
  const std::uint64_t count = kills - watched.oom_kills_told;
  watched.oom_kills_told = kills;
  history_[watched.who.child].oom_kills += count;
  ++counts.main;
  counts.others += count - 1;
  return make_report(watched, true, count);
}

usage::OomReport ResourceWatch::make_report(Watched& watched, bool is_main, std::uint64_t kills) {
  const usage::CgroupPaths& paths = watched.reader.paths();
  usage::OomReport report;
  report.service = options_.service;
  report.child = watched.who.child;
  report.is_main = is_main;
  report.kills = kills;
  const std::uint64_t limit =
      read_cgroup_number(paths.memory + (paths.is_v2 ? "/memory.max" : "/memory.limit_in_bytes"));
  // v1 says "no limit" with the largest number of pages.
  if (limit > 0 && limit < (1ull << 62)) report.limit_bytes = limit;
  report.peak_bytes = watched.reader.read_all().memory_peak_bytes;
  const std::string own = tail_of(paths.memory, 2);
  const std::string service = tail_of(cgroups_.base_paths().memory, 1);
  const auto log = usage::parse_kernel_oom_kills(usage::read_kernel_log(kKernelLogSpan));
  const usage::KernelOomKill* kill = nullptr;
  for (const usage::KernelOomKill& each : log) {
    if (!each.victim_group.ends_with(own)) continue;
    if (kill == nullptr || each.at_microseconds > kill->at_microseconds) kill = &each;
    if (is_main && each.victim.pid == watched.who.pid) break;
  }
  const auto hits = usage::read_limit_hits(paths.memory, paths.is_v2);
  if (kill != nullptr) {
    report.victim = kill->victim;
    report.top = kill->top;
    report.scope = usage::scope_from_log(*kill, own, service, report.group);
    report.is_victim_main = kill->victim.pid == watched.who.pid;
  } else {
    report.top = watched.top;
    report.scope = usage::scope_from_hits(watched.hits, hits, report.group);
    report.is_victim_main = is_main;
  }
  watched.hits = hits;
  return report;
}

ResourceWatch::Watched* ResourceWatch::find(const std::string& child) {
  return const_cast<Watched*>(std::as_const(*this).find(child));
}

const ResourceWatch::Watched* ResourceWatch::find(const std::string& child) const {
  const Watched* latest = nullptr;
  for (const auto& [leaf, watched] : watched_) {
    if (watched->who.child != child) continue;
    if (latest == nullptr || watched->who.generation > latest->who.generation) {
      latest = watched.get();
    }
  }
  return latest;
}

std::optional<CurrentUse> ResourceWatch::current(const std::string& leaf) {
  const auto found = watched_.find(leaf);
  if (found == watched_.end()) return std::nullopt;
  Watched* watched = found->second.get();
  begin(*watched);
  CurrentUse use;
  use.counters = watched->reader.read_all();
  const Sample& last = watched->samples.back();
  const double seconds = std::chrono::duration<double>(clock_.now() - last.at).count();
  // Over the time since the last sample; right after one, over the period before it.
  const bool is_fresh = seconds < 0.2 && watched->samples.size() > 1;
  const Sample& from = is_fresh ? watched->samples[watched->samples.size() - 2] : last;
  const double span = std::chrono::duration<double>(clock_.now() - from.at).count();
  if (use.counters.cpu_microseconds && from.counters.cpu_microseconds && span > 0.01) {
    const auto used = *use.counters.cpu_microseconds - *from.counters.cpu_microseconds;
    use.cpu = static_cast<double>(used) / 1e6 / span;
  }
  use.throttled_share = throttled_share(*watched);
  return use;
}

std::optional<std::string> ResourceWatch::leaf_of(const std::string& child) const {
  const Watched* watched = find(child);
  if (watched == nullptr) return std::nullopt;
  return watched->who.leaf;
}

ResourceWatch::OomCounts ResourceWatch::oom_counts(const std::string& child) const {
  const auto found = oom_counts_.find(child);
  return found == oom_counts_.end() ? OomCounts{} : found->second;
}

std::vector<std::string> ResourceWatch::notes(const std::string& child) const {
  std::vector<std::string> notes;
  const Watched* watched = find(child);
  if (watched == nullptr || !watched->is_throttled) return notes;
  notes.push_back(fmt::format("limits.cpu throttles it in {:.0f}% of its periods",
                              throttled_share(*watched).value_or(0) * 100));
  return notes;
}

std::int64_t ResourceWatch::wall_seconds() const {
  return std::chrono::duration_cast<std::chrono::seconds>(clock_.wall_now().time_since_epoch())
      .count();
}

void ResourceWatch::write_history() {
  written_at_ = clock_.now();
  auto written = write_file_atomically(options_.history_file, usage::to_json(history_), 0640);
  if (!written) log::warn("the history of use is not kept: {}", written.error().message());
}

}  // namespace pillion::supervisor::host
