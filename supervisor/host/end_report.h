// Says why a child had to be killed: what it was doing before the SIGKILL, and, when not even that
// ends it, what holds it in the kernel.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/loop.h"
#include "supervisor/core/report.h"

namespace pillion::supervisor::host {

class EndReport {
 public:
  using OnReport = std::function<void(core::Report)>;
  EndReport(Loop& loop, OnReport on_report);

  // A signal was sent that asks the generation to end.
  void signalled(const std::string& leaf, int signal_number);
  // Before the SIGKILL. `pid` is the main process, 0 when it has ended; `leftovers` are what else
  // is in the group. Reports, once per generation, and watches for an end that does not come.
  void killing(const std::string& child, core::Generation generation, const std::string& leaf,
               pid_t pid, const std::vector<long>& leftovers);
  // Nothing of the generation is left.
  void ended(const std::string& leaf) { ends_.erase(leaf); }

  // What the main process was doing when it was killed; empty when it was not, or had not been
  // asked to end before.
  std::string detail(const std::string& leaf) const;
  // Of a child that does not end even now.
  std::vector<std::string> notes(const std::string& child) const;

 private:
  struct End {
    std::string child;
    core::Generation generation = 0;
    int signal_number = 0;
    MonotonicTime signalled_at{};
    MonotonicTime killed_at{};
    bool is_killed = false;
    std::vector<long> pids;
    std::string detail;
    std::string stuck;
  };

  void look_for_stuck();
  bool look_for_stuck(End& end);

  OnReport on_report_;
  SystemClock clock_;
  std::map<std::string, End> ends_;  // by leaf
  Timer timer_;
};

}  // namespace pillion::supervisor::host
