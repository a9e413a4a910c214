// One short-lived process run to its end: an exec probe, a hook, pillion-netns. Output is collected
// up to a bound; a timeout or cancel() kills its whole cgroup.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/loop.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/process_host.h"

namespace pillion::supervisor::host {

struct CommandResult {
  bool has_timed_out = false;
  std::string spawn_error;  // not empty: it never ran
  int wait_status = 0;
  std::string standard_output;
  std::string standard_error;

  bool is_success() const;
  // "exited with 3: first line of its standard error".
  std::string describe() const;
};

class CommandRun {
 public:
  using OnDone = std::function<void(CommandResult)>;

  // `name` for the ledger; `leaf` is created without limits and removed afterwards. `on_done` runs
  // once, from the loop, unless the object is destroyed before.
  CommandRun(Loop& loop, ProcessHost& processes, Cgroups& cgroups, std::string name,
             std::string leaf);
  ~CommandRun();
  CommandRun(const CommandRun&) = delete;
  CommandRun& operator=(const CommandRun&) = delete;

  // The group's name. Destroyed before its end, the run leaves the group to whoever removes it once
  // the killed are gone.
  const std::string& leaf() const { return leaf_; }

  void start(SpawnPlan plan, const std::string& input, Duration timeout, OnDone on_done);

 private:
  struct Output {
    Fd fd;
    std::optional<Poll> poll;
    std::string text;
  };

  Result<void> launch(SpawnPlan& plan, const std::string& input);
  void watch(Output& output);
  void read_output(Output& output);
  void on_exit(int wait_status);
  void kill();
  void finish(CommandResult result);

  Loop& loop_;
  ProcessHost& processes_;
  Cgroups& cgroups_;
  std::string name_;
  std::string leaf_;
  std::optional<ProcessId> process_;
  Output output_;
  Output error_;
  Timer deadline_;
  Timer reply_;
  bool has_timed_out_ = false;
  std::string spawn_error_;
  OnDone on_done_;
};

// A readable descriptor that holds `text`.
Result<Fd> make_input(const std::string& text);

}  // namespace pillion::supervisor::host
