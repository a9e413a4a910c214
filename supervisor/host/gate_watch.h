// Watches for what opens a child's gate outside of sd_notify and probes: a newline on a descriptor,
// a line of output, a file.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/probe.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

struct pcre2_real_code_8;

namespace pillion::supervisor::host {

class GateWatch {
 public:
  // `on_seen` runs once, from the loop or from on_line(), then the watch is over. `kept` is the
  // read end that an earlier supervisor's watch of the same process had, if it had one.
  GateWatch(Loop& loop, const config::Gate& gate, std::function<void()> on_seen, Fd kept = Fd());

  // The descriptor to hand to the child as gate.notification_fd; -1 when there is none.
  int notification_fd() const { return pipe_.write_end.get(); }
  // For the keeper: what opens the gate is looked at there and not taken out, so that another
  // supervisor sees it again.
  int read_end() const { return pipe_.read_end.get(); }
  // After the spawn: our copy of the child's end goes, so that its exit ends the pipe.
  void on_spawned() { pipe_.write_end.reset(); }
  // After the exec: looks for gate.file as the process `pid` sees it.
  void on_executed(int pid);
  void on_line(std::string_view line);

 private:
  void compile(const std::string& pattern);
  void read_pipe();
  void see();

  Loop& loop_;
  std::function<void()> on_seen_;
  Pipe pipe_;
  std::optional<Poll> poll_;
  std::optional<Timer> timer_;
  std::optional<std::string> file_;
  std::shared_ptr<pcre2_real_code_8> pattern_;  // for its deleter; nobody shares it
};

}  // namespace pillion::supervisor::host
