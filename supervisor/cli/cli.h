// The command line of `pillion`: what each command is called, takes and prints. The work is done by
// config/ (check, config), supervisor/host (run, supervise) and the files beside this one.
#pragma once

namespace pillion::supervisor::cli {

// sysexits.h where it has a word, LSB for "not running".
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitNotRunning = 3;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitSetUp = 71;
inline constexpr int kExitConfig = 78;

// Returns the exit code of the process; `run` replaces the process instead.
int run(int argc, char** argv);

}  // namespace pillion::supervisor::cli
