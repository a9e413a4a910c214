// The supervisor's end of the socketpair to the keeper: fd store, child ledger, finish. Requests
// wait for their answer (the keeper answers at once and never waits for us); what it says unasked
// is kept and delivered from the loop.
//
// A lost keeper is the end: the kernel kills us with it (PDEATHSIG), so errors of the channel are
// rare and mean that nothing more can be kept.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/result.h"
#include "supervisor/keeper/protocol.h"

namespace pillion::supervisor::host {

struct ChildRecord {
  std::int64_t id = 0;
  std::string name;
  std::uint64_t generation = 0;
  std::string cgroup;
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  keeper::ChildState state = keeper::ChildState::Pending;
  int wait_status = 0;
};

class KeeperClient {
 public:
  // Takes the socket that $PILLION_KEEPER_FD names and says hello.
  static Result<std::unique_ptr<KeeperClient>> from_environment();
  // For tests: a connected SOCK_SEQPACKET socket.
  static Result<std::unique_ptr<KeeperClient>> connect(Fd socket);

  pid_t keeper_pid() const { return keeper_pid_; }
  // What both ends know (supervisor/keeper/protocol.h).
  unsigned version() const { return version_; }
  // How often the supervisor was started again; 0 in its first life.
  std::int64_t restarts() const { return restarts_; }

  // Stores a copy of `fd` under `name`, replacing an older one.
  Result<void> put_fd(const std::string& name, int fd);
  // Between the two, put_fd() does not wait for the keeper; what went wrong is told at the end.
  void begin_batch() { is_batch_ = true; }
  Result<void> end_batch();
  // Empty when there is none of that name.
  std::optional<Fd> get_fd(const std::string& name);
  std::vector<std::string> list_fds();
  void remove_fd(const std::string& name);

  // Before clone; returns the record's id. The child waits on the other end of `go` (-1 = none)
  // until report_spawned().
  Result<std::int64_t> register_child(const std::string& name, std::uint64_t generation,
                                      const std::string& cgroup, int go = -1);
  bool has_go_pipe() const { return version_ >= 2; }
  // Does not wait for the answer: the child does, for the keeper's byte.
  Result<void> report_spawned(std::int64_t id, pid_t pid, std::uint64_t start_time);
  std::vector<ChildRecord> list_children();
  void acknowledge(std::int64_t id);

  // The keeper ends with this code once we are gone.
  Result<void> finish(int exit_code);

  // This signal is dealt with; until then a next supervisor would hear of it too.
  void acknowledge_signal(std::uint64_t serial);
  // A supervisor that says nothing for so long is killed and started again.
  void say_alive(std::chrono::seconds patience);
  // The keeper tries whether its installed program can continue; `on_checked` gets the verdict.
  Result<void> check_upgrade(std::function<void(Result<void>)> on_checked);
  // Once we have ended, the keeper executes its program anew, which starts the new supervisor.
  Result<void> upgrade(int own_executable);

  // Starts delivering; both callbacks run from the loop, never within a call to this object.
  void start(Loop& loop, std::function<void(const ChildRecord&)> on_exit,
             std::function<void(int signal_number, std::uint64_t serial)> on_signal);

 private:
  explicit KeeperClient(Fd socket) : socket_(std::move(socket)) {}
  Result<keeper::Message> request(keeper::Message message, int fd = -1, Fd* reply_fd = nullptr);
  Result<void> send(keeper::Message& message, int fd);
  // Without waiting for the answer; `what` names the request if it is refused.
  Result<void> post(keeper::Message message, int fd, std::string what);
  // The next answer; unasked messages on the way are kept.
  Result<keeper::Message> receive(Fd* fd);
  void settle(const keeper::Message& answer);
  void on_readable();
  void schedule_delivery();
  void deliver();
  void deliver_one(const keeper::Message& message);

  Fd socket_;
  pid_t keeper_pid_ = 0;
  std::int64_t restarts_ = 0;
  unsigned version_ = 1;
  std::uint32_t last_sequence_ = 0;
  struct Posted {
    std::uint32_t sequence = 0;
    std::string what;
  };
  std::deque<Posted> posted_;  // not answered yet, in order
  std::string refusal_;        // of what was posted in this batch
  bool is_batch_ = false;
  // In the first life nobody but us can have stored anything, so that looking needs no question.
  std::set<std::string> stored_;
  std::deque<keeper::Message> unasked_;
  Loop* loop_ = nullptr;
  std::optional<Timer> delivery_;
  std::optional<Poll> poll_;
  std::function<void(const ChildRecord&)> on_exit_;
  std::function<void(int, std::uint64_t)> on_signal_;
  std::function<void(Result<void>)> on_checked_;
};

}  // namespace pillion::supervisor::host
