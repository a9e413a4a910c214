// Keeps the service's own resolv.conf, hosts and nsswitch.conf in step with the host's: a DHCP
// lease or a VPN changes the host's servers while services run. Watches by inotify; the service's
// files are rewritten in place, because children have them bound by their inode.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "netns/facts.h"
#include "netns/wanted.h"
#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

class NameFileFollower {
 public:
  // `directory` holds the service's files; only those that exist there are kept. `root` goes before
  // the host's paths; for tests.
  NameFileFollower(Loop& loop, netns::Wanted wanted, netns::Facts facts, std::string directory,
                   std::string root = "");

  // `on_change` gets the names of the files that were rewritten, from the loop.
  Result<void> start(std::function<void(const std::string& names)> on_change);
  // Further names, instead of those of an earlier call; rewrites what changes by them.
  void set_neighbours(const std::vector<netns::HostAlias>& neighbours);
  // Looks now. Returns the names of the files that were rewritten, "" for none.
  std::string update();

 private:
  void watch(const std::string& path);
  void on_event();
  bool rewrite(const std::string& name, const std::string& text);

  netns::Wanted wanted_;
  const std::vector<netns::HostAlias> own_aliases_;
  netns::Facts facts_;
  std::string directory_;
  std::string root_;
  Fd inotify_;
  std::optional<Poll> poll_;
  Timer settle_;
  std::function<void(const std::string&)> on_change_;
};

}  // namespace pillion::supervisor::host
