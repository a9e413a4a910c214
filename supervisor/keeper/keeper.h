// The parent of everything in one service, and what must survive a crash of the supervisor: exit
// statuses (Ledger), file descriptors (FdStore), signals (SignalQueue), the lock and the sockets of
// the runtime directory. It spawns the supervisor, spawns it again when it crashes or hangs, passes
// signals on to it, and reaps whatever dies. For an upgrade it executes its own program anew, with
// all of that handed over. One thread, one poll loop, libc only, no heap after start, no decisions:
// the service's life is the supervisor's business.
//
// The class is spread over keeper.cc (the loop), supervisor_process.cc (its one special child),
// answers.cc (requests of the supervisor) and upgrade.cc.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <cstdint>

#include "supervisor/keeper/fd_store.h"
#include "supervisor/keeper/ledger.h"
#include "supervisor/keeper/protocol.h"
#include "supervisor/keeper/runtime_directory.h"
#include "supervisor/keeper/signal_queue.h"
#include "supervisor/keeper/watchdog.h"

namespace pillion::keeper {

inline constexpr int kSupervisorArgumentsMax = 32;
// The number that the socketpair's end has in the supervisor.
inline constexpr int kSupervisorFd = 3;

struct Options {
  const char* program = nullptr;  // ours, absolute: what an upgrade executes
  const char* service = nullptr;
  const char* runtime_directory = nullptr;
  char** supervisor_argv = nullptr;  // null-terminated; argv[0] is the program
  int resumed_state = -1;  // descriptor of what an earlier program wrote; -1 = first start
  // A supervisor that `pillion run` forked before it became the keeper, and our end of the channel
  // to it; 0 = none, then the keeper starts one.
  pid_t first_supervisor = 0;
  int first_socket = -1;
};

class Keeper {
 public:
  // Returns the exit code of the service: what the supervisor said with Finish, 71 when it could
  // not be set up, 70 when the supervisor crashes again and again.
  int run(const Options& options);

  // Whether `state` can be continued from; says why not on stderr. Opens nothing.
  static bool check_state(int state);

 private:
  enum class Upgrade { None, Checking, WaitingForSupervisor };

  bool set_up();
  void take_version();
  bool open_signals();
  bool resume();
  int loop();
  void on_time(std::uint64_t now);
  // The supervisor has until finish_deadline_ns_.
  static int return_start_memory();
  bool must_end() const {
    return is_finishing_ || is_abandoning_ || upgrade_ == Upgrade::WaitingForSupervisor;
  }
  int poll_timeout_ms() const;
  void on_signals();
  void reap();
  void tear_down();
  void restore_terminal() const;

  bool spawn_supervisor();
  bool start_supervisor();
  void watch_supervisor(pid_t pid, int socket);
  void end_first_supervisor() const;
  [[noreturn]] void become_supervisor(int socket) const;
  void on_supervisor_exit(int wait_status);
  void note_crash(int wait_status, std::uint64_t now);
  void on_supervisor_readable();
  void give_up();

  void answer(Message& message, int fd);
  int answer_fds(Message& message, int fd, int* reply_fd);
  int answer_children(Message& message);
  int answer_upgrade(const Message& message, int fd);
  void send_unasked();
  bool send_signals();
  bool has_unasked() const;

  int write_state() const;
  int start_check();
  void on_checked(int wait_status);
  void set_inherited(bool is_inherited, int state) const;
  void execute_anew();

  Options options_;
  RuntimeDirectory directory_;
  FdStore fds_;
  Ledger ledger_;
  SignalQueue queue_;
  Watchdog watchdog_;
  int signals_ = -1;
  int socket_ = -1;
  pid_t supervisor_ = 0;
  std::uint16_t own_version_ = kProtocolVersion;
  std::uint16_t peer_version_ = kProtocolVersion;
  std::uint64_t supervisor_started_ns_ = 0;
  std::uint64_t respawn_at_ns_ = 0;   // 0 = not waiting
  std::uint64_t alive_until_ns_ = 0;  // 0 = the supervisor promised nothing
  std::uint64_t backoff_ms_ = 0;
  int crashes_ = 0;                   // in a row
  int restarts_ = 0;                  // in total, reported by Hello
  bool is_start_memory_held_ = true;  // until a second after the supervisor's start
  bool has_said_hello_ = false;
  bool is_abandoning_ = false;  // the last supervisor only cleans up
  bool is_finishing_ = false;
  std::uint64_t finish_deadline_ns_ = 0;
  int exit_code_ = 0;

  Upgrade upgrade_ = Upgrade::None;
  pid_t checker_ = 0;
  std::uint64_t check_deadline_ns_ = 0;
  int previous_supervisor_ = -1;  // its executable, until the new one has proved itself
  bool is_trial_ = false;         // the new supervisor has not yet
  Message upgrade_verdict_;       // to be sent unasked
  bool has_upgrade_verdict_ = false;

  termios terminal_{};  // on stdin, as it was; the supervisor may make it raw
  bool has_terminal_ = false;
};

std::uint64_t now_ns(clockid_t clock);

}  // namespace pillion::keeper
