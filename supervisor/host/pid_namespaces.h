// Namespaces of process numbers, one for each generation of a child or one for the service, as
// `hardening.pid_namespace` says. Process 1 of each is a pillion-init, which reaps what loses its
// parent. The children are cloned into it as children of the keeper, like all others: their exit
// statuses, signals and pidfds are the real ones, and none of them is a process 1 that the kernel
// shields from SIGTERM.
//
// An init lives as long as the keeper holds the write end of its pipe, the life line: it outlives a
// crash of the supervisor and not the keeper. With an init the kernel ends its whole namespace.
#pragma once

#include <string>
#include <vector>

#include "config/child.h"
#include "runtime/fd.h"
#include "runtime/result.h"
#include "supervisor/host/keeper_client.h"

namespace pillion::supervisor::host {

class PidNamespaces {
 public:
  explicit PidNamespaces(KeeperClient& keeper) : keeper_(keeper) {}

  // A descriptor of the namespace for this generation, made when there is none. `leaf` names the
  // generation: "app.3". Waits for the exec of an init, a millisecond or two; at most two seconds.
  Result<Fd> enter(config::PidNamespace kind, const std::string& leaf);
  // The generation is over: what is left in a namespace of its own is killed.
  void release(const std::string& leaf);
  // The service's takes no more processes: the next enter() makes another.
  void give_up_service();
  // After a take-over: ends the namespaces of generations that nobody knows.
  void retain(const std::vector<std::string>& leaves);
  // All of them, with what is left in them.
  void release_all();

 private:
  struct Made {
    Fd space;
    Fd init;  // a pidfd
  };
  Result<Made> make(const std::string& leaf);
  Result<Fd> enter_service();

  KeeperClient& keeper_;
};

// Of the namespace that the process numbers of `pid`'s children come from.
Result<Fd> open_pid_namespace(pid_t pid);

}  // namespace pillion::supervisor::host
