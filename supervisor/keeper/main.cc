// pillion-keeper: parent of one service. Started by `pillion run`, not by hand:
//   pillion-keeper --name NAME --runtime-dir DIR -- SUPERVISOR ARGUMENT…
// `--supervisor PID --supervisor-socket FD` before the dashes names a supervisor that runs already.
// An upgrade executes it with `--resume FD` before that; `--check-state FD` says by its exit code
// whether it could.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "supervisor/keeper/keeper.h"

namespace {

// Static: the keeper has no heap and its tables are too large for a stack.
pillion::keeper::Options options;
// Laid out by the compiler: of its tables only what is used takes memory.
constinit pillion::keeper::Keeper keeper;

bool parse(int argc, char** argv) {
  options.program = argv[0];
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--") == 0) {
      options.supervisor_argv = argv + i + 1;
      return options.service && options.runtime_directory && options.supervisor_argv[0] &&
             argc - i - 1 <= pillion::keeper::kSupervisorArgumentsMax;
    }
    if (i + 1 >= argc) return false;
    if (std::strcmp(argv[i], "--name") == 0) {
      options.service = argv[++i];
    } else if (std::strcmp(argv[i], "--runtime-dir") == 0) {
      options.runtime_directory = argv[++i];
    } else if (std::strcmp(argv[i], "--resume") == 0) {
      options.resumed_state = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--supervisor") == 0) {
      options.first_supervisor = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--supervisor-socket") == 0) {
      options.first_socket = std::atoi(argv[++i]);
    } else {
      return false;
    }
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("pillion-keeper %s\n", PILLION_VERSION);
    return 0;
  }
  if (argc == 3 && std::strcmp(argv[1], "--check-state") == 0) {
    return pillion::keeper::Keeper::check_state(std::atoi(argv[2])) ? 0 : 1;
  }
  if (!parse(argc, argv)) {
    std::fprintf(stderr, "usage: pillion-keeper --name NAME --runtime-dir DIR -- PROGRAM ARG...\n");
    return 64;
  }
  return keeper.run(options);
}
