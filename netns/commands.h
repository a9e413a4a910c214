// The commands of the program `pillion-netns`: input document in, text on stdout, exit code out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netns/pod_options.h"
#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

inline constexpr int kExitOk = 0;
inline constexpr int kExitBadInput = 78;
inline constexpr int kExitSetUp = 71;
inline constexpr int kExitNotAsWanted = 1;  // verify, doctor

struct CommandLine {
  std::string command;           // apply, create, capture, uncapture, remove, show, verify, …
  std::string name;              // instead of a document, where a service's name says enough
  std::string service_file;      // instead of a document: a service's configuration file
  bool is_pod = false;           // instead of a document: the namespace that we are in
  PodOptions pod;                // the same, when any of them was given
  std::string annotations_file;  // the same
  bool is_dry_run = false;       // apply, create, capture: print steps and rules, change nothing
  bool with_capture = false;     // verify: capture is expected to be live
  // doctor:
  bool is_json = false;
  bool without_trial = false;                    // no trial connection
  std::string resolv_conf = "/etc/resolv.conf";  // which one the service's programs see
  std::vector<std::uint32_t> app_uids;           // of the app's processes
  bool leftovers = false;                        // of all services instead of one service's network
  std::vector<std::string> running;              // services that leave no leftovers
};

// Runs one command; prints errors on stderr.
int run_command(const CommandLine& line);

}  // namespace pillion::netns
