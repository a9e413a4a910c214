// The command line of pillion-netns.
#pragma once

namespace pillion::netns {

// Parses and runs; returns the program's exit code. `version` for --version.
int run_command_line(int argc, char** argv, const char* version);

}  // namespace pillion::netns
