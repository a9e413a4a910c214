// The service's state on disk, for the next supervisor. While the disk refuses it, the keeper holds
// it in memory, so that a full disk costs a crashed supervisor nothing.
#pragma once

#include <optional>
#include <string>

#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"

namespace pillion::supervisor::host {

class StateFile {
 public:
  StateFile(Loop& loop, KeeperClient& keeper, std::string path)
      : keeper_(keeper), path_(std::move(path)), retry_(loop) {}

  // Kept when this returns; what cannot be written to disk is tried again from the loop. Says in
  // the log when the disk begins to refuse, and when it takes it again.
  void write(std::string text);
  // The latest that was written, wherever; empty when there is none.
  std::optional<std::string> read();
  // The service is over.
  void remove();

 private:
  bool keep(const std::string& text);

  KeeperClient& keeper_;
  std::string path_;
  bool is_kept_ = false;  // by the keeper, since the disk refused it
  bool has_complained_ = false;
  Timer retry_;
};

}  // namespace pillion::supervisor::host
