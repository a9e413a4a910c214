// The two entry points for main.cc: `pillion run`, which forks into the first supervisor and the
// keeper, and the hidden `pillion supervise`, which the keeper starts when there is none any more.
#pragma once

#include <optional>
#include <string>

#include "config/service.h"
#include "runtime/result.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

struct RunOptions {
  std::string config_file;      // the service's TOML file
  bool echoes_output = false;   // children's lines also on our stderr, prefixed with their name
  bool lends_terminal = false;  // to the app: the one on stdin; always as PID 1
  bool is_abandoning = false;   // the keeper gave up: take everything down, supervise nothing
};

// Replaces this process with pillion-keeper. `service` is what the file says, `options.config_file`
// an absolute path. A sealed service without root first enters a user namespace. A fork of this
// process becomes the supervisor: there this returns the process's exit code. Here it returns only
// when something failed.
Result<int> run_service(config::Service service, RunOptions options);

// `pillion supervise CONFIG [--echo]`: supervises until the service is over. Returns the exit code
// of this process; the service's own code is with the keeper by then. `read` is what the file said
// just now, if it was read.
int run_supervisor(const RunOptions& options, std::optional<config::Service> read = {});

}  // namespace pillion::supervisor::host
