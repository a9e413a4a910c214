// Our terminal and a pseudo-terminal for somebody else, and the bytes between them.
#pragma once

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::cli {

struct PseudoTerminal {
  Fd ours;
  Fd theirs;
};

// As large as the terminal on our stdin.
Result<PseudoTerminal> open_pseudo_terminal();

// Makes the terminal on `fd` the controlling one of this process, in a session of its own, and its
// stdin, stdout and stderr. For the process that will use it. False with errno when it fails.
bool take_terminal(int fd);

// Copies between stdin/stdout and `terminal`, sizes included, until the other side of `terminal` is
// closed by everybody. Our terminal is raw meanwhile and as before afterwards.
Result<void> relay_terminal(int terminal);

}  // namespace pillion::supervisor::cli
