// Watches what the running generations use and what the kernel does to them for it: samples their
// groups, keeps the history of use, hears of kills for lack of memory as they happen and tells the
// truth about them, notices CPU limits that hold a child back.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/loop.h"
#include "supervisor/core/report.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/usage/counters.h"
#include "supervisor/usage/history.h"
#include "supervisor/usage/oom_report.h"

namespace pillion::supervisor::host {

// A generation that runs, as the watch must know it.
struct WatchedGeneration {
  std::string child;
  core::Generation generation = 0;
  std::string leaf;
  pid_t pid = 0;  // the main process
  bool has_oom_group = true;
  bool is_new = true;     // false: taken over from an earlier supervisor
  bool is_untold = true;  // kills that the kernel has counted so far are news
};

// What a child uses now.
struct CurrentUse {
  usage::Counters counters;
  std::optional<double> cpu;              // CPUs, over the last sampling period
  std::optional<double> throttled_share;  // of the quota's periods, over the last minute
};

class ResourceWatch {
 public:
  using OnReport = std::function<void(core::Report)>;

  struct Options {
    std::string service;
    std::string history_file;  // read at start(), written every minute and at finish()
    Duration period = std::chrono::seconds(10);
  };

  ResourceWatch(Loop& loop, Cgroups& cgroups, Options options, OnReport on_report);

  // Reads the history and begins to sample.
  void start();
  void set_period(Duration period);
  void finish();

  void watch(const WatchedGeneration& generation);
  // The main process was killed by a SIGKILL that was not ours: tells whether that was for lack of
  // memory. Before forget().
  std::optional<usage::OomReport> judge_kill(const std::string& leaf);
  // The generation is over; before its group is removed.
  void forget(const std::string& leaf);

  // Of a generation that is watched, read now.
  std::optional<CurrentUse> current(const std::string& leaf);
  // The group of the latest generation of `child` that is watched.
  std::optional<std::string> leaf_of(const std::string& child) const;
  const usage::History& history() const { return history_; }
  // Kills for lack of memory since the supervisor started, of the main process and of others.
  struct OomCounts {
    std::uint64_t main = 0;
    std::uint64_t others = 0;
  };
  OomCounts oom_counts(const std::string& child) const;
  // What a person should know of the child beside its state; usually nothing.
  std::vector<std::string> notes(const std::string& child) const;

 private:
  struct Sample {
    MonotonicTime at;
    usage::Counters counters;
  };
  struct Watched {
    Watched(WatchedGeneration watched, usage::CgroupPaths paths)
        : who(std::move(watched)), reader(std::move(paths)) {}
    WatchedGeneration who;
    usage::CounterReader reader;
    std::deque<Sample> samples;  // of the last minute
    std::uint64_t oom_kills_told = 0;
    std::vector<usage::LimitHits> hits;
    std::vector<usage::ProcessUse> top;  // when memory was last nearly used up
    bool is_throttled = false;
    bool has_begun = false;
    std::optional<usage::OomReport> group_kill;  // we ended the group for one kill in it
    Fd oom_event;                                // v1
    std::optional<Poll> oom_poll;
    int inotify_watch = -1;  // v2
  };

  void begin(Watched& watched);
  void sample();
  void sample_one(Watched& watched);
  void watch_throttling(Watched& watched);
  void remember_top(Watched& watched, const usage::Counters& counters);
  static std::optional<double> throttled_share(const Watched& watched);
  void listen_for_oom(Watched& watched);
  void on_inotify();
  void on_memory_event();
  void look_for_oom();
  // False: nothing new, or the main process is about to end of it.
  bool tell_oom(Watched& watched, std::uint64_t kills);
  usage::OomReport make_report(Watched& watched, bool is_main, std::uint64_t kills);
  Watched* find(const std::string& child);
  const Watched* find(const std::string& child) const;
  std::int64_t wall_seconds() const;
  void write_history();

  Loop& loop_;
  Cgroups& cgroups_;
  Options options_;
  OnReport on_report_;
  SystemClock clock_;
  usage::History history_;
  std::map<std::string, std::unique_ptr<Watched>> watched_;  // by leaf
  Timer beginning_;
  std::map<std::string, OomCounts> oom_counts_;  // by child
  Timer sampling_;
  Timer oom_look_;
  int oom_looks_left_ = 0;
  Fd inotify_;
  std::optional<Poll> inotify_poll_;
  MonotonicTime written_at_{};
};

}  // namespace pillion::supervisor::host
