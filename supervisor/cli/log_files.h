// Reads a child's log through its rotations: CHILD.log.5 … CHILD.log.1, CHILD.log, then, when
// following, what is appended, across further rotations by rename.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/fd.h"

namespace pillion::supervisor::cli {

// Children that have a log in `directory`, sorted.
std::vector<std::string> list_logged_children(const std::string& directory);

class LogFollower {
 public:
  using OnLine = std::function<void(std::string_view line)>;

  LogFollower(std::string directory, std::string child);

  // All whole lines that are there by now, oldest first; each once over all calls.
  void read(const OnLine& on_line);

 private:
  void read_rest(const OnLine& on_line);
  void open_next(const OnLine& on_line);

  std::string path_;
  Fd file_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  std::string partial_;
  bool has_read_rotated_ = false;
};

}  // namespace pillion::supervisor::cli
