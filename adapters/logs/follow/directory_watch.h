// Tells when something happens in directories that hold followed files: inotify, one watch per
// directory. A hint only; the periodic check finds what it misses (network filesystems, overflow).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::logs {

class DirectoryWatch {
 public:
  struct Event {
    std::string directory;
    std::string_view name;
    bool is_content_only = false;  // bytes were written; no entry came, went or was renamed
    bool is_overflow = false;      // events were lost: look at everything
  };

  DirectoryWatch(Loop& loop, std::function<void(const Event&)> on_event);

  // Does nothing when the directory is watched already; tries again at the next call when it cannot
  // be watched (not there yet, or out of inotify watches, which is logged once).
  void watch(const std::string& directory);

 private:
  void read_events();

  std::function<void(const Event&)> on_event_;
  Fd inotify_;
  std::map<int, std::string> directories_;
  bool is_failure_said_ = false;
  Poll poll_;
};

}  // namespace pillion::logs
