// pillion: the command line and, as `pillion supervise`, the supervisor of one service.
#include "supervisor/cli/cli.h"

int main(int argc, char** argv) { return pillion::supervisor::cli::run(argc, argv); }
