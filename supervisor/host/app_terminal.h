// The terminal of `pillion run -it` and its like, lent to the app: a pseudo-terminal of the app's
// own, where it is session leader and has job control, and the bytes between the two. What the app
// prints also goes to its log. The keeper holds the pseudo-terminal, so the app keeps it when the
// supervisor dies; a few bytes on their way may be lost then.
//
// Our own terminal is raw meanwhile; the keeper, which outlives us, restores it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/fd.h"
#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {

class AppTerminal {
 public:
  // Our terminal is on stdin. `on_hangup` runs once, from the loop, when it is gone; the app has
  // been sent the hangup by then.
  static Result<std::unique_ptr<AppTerminal>> create(Loop& loop, KeeperClient& keeper,
                                                     std::function<void()> on_hangup);

  // The app's stdin, stdout and stderr. `log` is the write end of the pipe to its log; borrowed.
  Result<void> attach(SpawnPlan& plan, int log);
  // The same for an app that has the terminal already, from an earlier supervisor.
  void copy_to(int log);
  // Ours has another size: the app is told.
  void resize();
  void remove();

 private:
  static constexpr std::size_t kBufferMax = 64 * 1024;

  AppTerminal(Loop& loop, KeeperClient& keeper, std::function<void()> on_hangup);
  Result<void> open(Loop& loop);
  void on_input();
  void on_output();
  void flush_input();
  void flush_output();
  void watch();
  void hang_up();
  void log_copy(std::string_view bytes);

  KeeperClient& keeper_;
  std::function<void()> on_hangup_;
  Fd ours_;    // the terminal that we were started on, opened anew so that it can be non-blocking
  Fd master_;  // of the app's pseudo-terminal
  Fd log_;     // where a copy of the output goes
  std::string to_app_;
  std::string to_us_;
  bool is_app_gone_ = true;  // nobody has the app's side open; reading would fail at once
  std::unique_ptr<Poll> ours_poll_;
  std::unique_ptr<Poll> master_poll_;
  Timer retry_;
};

}  // namespace pillion::supervisor::host
