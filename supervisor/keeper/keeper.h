// The parent of everything in one service, and what must survive a crash of the supervisor: exit
// statuses (Ledger), file descriptors (FdStore), the lock and the sockets of the runtime directory.
// It spawns the supervisor, spawns it again when it crashes, passes TERM, INT and HUP on to it, and
// reaps whatever dies. One thread, one poll loop, libc only, no heap after start, no decisions: the
// service's life is the supervisor's business.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "supervisor/keeper/fd_store.h"
#include "supervisor/keeper/ledger.h"
#include "supervisor/keeper/protocol.h"
#include "supervisor/keeper/runtime_directory.h"

namespace pillion::keeper {

struct Options {
  const char* service = nullptr;
  const char* runtime_directory = nullptr;
  char** supervisor_argv = nullptr;  // null-terminated; argv[0] is the program
};

class Keeper {
 public:
  explicit Keeper(const Options& options) : options_(options) {}

  // Returns the exit code of the service: what the supervisor said with Finish, 71 when it could
  // not be set up, 70 when the supervisor crashes again and again.
  int run();

 private:
  bool set_up();
  bool spawn_supervisor();
  [[noreturn]] void become_supervisor(int socket) const;
  int loop();
  int poll_timeout_ms() const;
  void on_signals();
  void reap();
  void on_supervisor_exit(int wait_status);
  void on_supervisor_readable();
  void answer(Message& message, int fd);
  int answer_fds(Message& message, int fd, int* reply_fd);
  int answer_children(Message& message);
  void send_unasked();
  bool has_unasked() const;
  void tear_down();

  Options options_;
  RuntimeDirectory directory_;
  FdStore fds_;
  Ledger ledger_;
  int signals_ = -1;
  int socket_ = -1;
  pid_t supervisor_ = 0;
  std::uint64_t supervisor_started_ns_ = 0;
  std::uint64_t respawn_at_ns_ = 0;  // 0 = not waiting
  std::uint64_t backoff_ms_ = 0;
  int crashes_ = 0;   // in a row
  int restarts_ = 0;  // in total, reported by Hello
  bool has_said_hello_ = false;
  unsigned pending_signals_ = 0;  // bit per signal number, until the supervisor got it
  bool is_finishing_ = false;
  std::uint64_t finish_deadline_ns_ = 0;
  int exit_code_ = 0;
};

}  // namespace pillion::keeper
