// pillion-netns: builds, captures and removes the network of one service; short-lived, run by the
// supervisor, by hand, or as an init container. What it is to do comes as JSON on stdin, or by
// flags.
#include "netns/command_line.h"

int main(int argc, char** argv) {
  return pillion::netns::run_command_line(argc, argv, PILLION_VERSION);
}
