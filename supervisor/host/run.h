// The two entry points for main.cc: `pillion run` (becomes the keeper) and the hidden `pillion
// supervise` (what the keeper starts).
#pragma once

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

// Replaces this process with pillion-keeper, which starts `pillion supervise`. `service` is what
// the file says. A sealed service without root first enters a user namespace. Returns only when
// something failed.
Error exec_keeper(const config::Service& service, const RunOptions& options);

// `pillion supervise CONFIG [--echo]`: supervises until the service is over. Returns the exit code
// of this process; the service's own code is with the keeper by then.
int run_supervisor(const RunOptions& options);

}  // namespace pillion::supervisor::host
