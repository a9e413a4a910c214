// Tells when files may have been replaced: inotify on the directories that hold them, and a look
// every half minute for what inotify cannot see (a symbolic link further up, a network file
// system). The receiver compares contents; a call means "look", not "changed".
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::proxy {

class FileWatch {
 public:
  // `on_change` is called on the loop's thread, a moment after the last of a row of events.
  FileWatch(Loop& loop, const std::vector<std::string>& files, std::function<void()> on_change);

 private:
  void on_events();

  Fd inotify_;
  std::function<void()> on_change_;
  std::unique_ptr<Poll> poll_;
  std::unique_ptr<Timer> settle_;
  std::unique_ptr<Timer> periodic_;
};

}  // namespace pillion::proxy
