// The keeper's memory of children: one record per child and generation, from before its clone until
// the supervisor acknowledged its exit. Fixed capacity, no heap. An exit of a pid that no record
// names is kept while a record is still Pending: its child may have died before the supervisor
// could say which pid it got.
#pragma once

#include <sys/types.h>

#include "supervisor/keeper/protocol.h"

namespace pillion::keeper {

class Ledger {
 public:
  // The new record's id, or 0 when `kChildrenMax` records are held. Takes ownership of `go`, the
  // write end on which the child waits (-1 = none), unless it returns 0.
  std::int64_t add(const Message& request, int go = -1);

  // Binds a pid to a Pending record and lets the child go. Returns an errno: ENOENT for an unknown
  // id, EEXIST when bound.
  int bind(std::int64_t id, std::int64_t pid, std::uint64_t start_time);

  // Records the exit of `pid`.
  void on_exit(pid_t pid, int wait_status, std::uint64_t exit_time_ns);

  // The `index`-th held record, null past the end.
  const Message* at(std::int64_t index) const;

  // ENOENT for an unknown id. A child that still waits to go ends without having done anything.
  int remove(std::int64_t id);

  // The next exited record that the supervisor was not told of, null when there is none.
  const Message* next_unreported() const;
  void mark_reported(std::int64_t id);
  // A new supervisor has to hear of every exit again.
  void mark_all_unreported();

  // Sends SIGKILL to every running child.
  void kill_all() const;
  bool has_running() const;

  // For a keeper that is executed anew: the `index`-th record's go pipe, and a record as it was.
  int go_at(std::int64_t index) const;
  bool restore(const Message& record, int go);
  std::int64_t last_id() const { return last_id_; }
  void set_last_id(std::int64_t id) { last_id_ = id; }

 private:
  struct Record {
    bool is_used = false;
    bool is_reported = false;
    int go = -1;
    Message message;  // value = record id
  };
  struct Stray {
    std::int64_t pid = 0;
    int wait_status = 0;
    std::uint64_t exit_time_ns = 0;
  };
  static constexpr int kStraysMax = 64;

  Record* find(std::int64_t id);
  bool has_pending() const;
  const Record* used_at(std::int64_t index) const;

  Record records_[kChildrenMax];
  Stray strays_[kStraysMax];
  int next_stray_ = 0;
  std::int64_t last_id_ = 0;
};

}  // namespace pillion::keeper
