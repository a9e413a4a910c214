// The notify socket of one child (sd_notify(3)), kept by the keeper. Each child has its own, so
// that a message counts for the right child even when its sender, a short-lived `systemd-notify`,
// has ended before we look.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/notify.h"
#include "supervisor/core/events.h"
#include "supervisor/host/keeper_client.h"

namespace pillion::supervisor::host {

class ChildNotify {
 public:
  // Binds the socket at `path`, or takes it over from the keeper.
  static Result<std::unique_ptr<ChildNotify>> create(
      Loop& loop, KeeperClient& keeper, const std::string& child, const std::string& path,
      std::function<void(const NotifyMessage&)> on_message);

  // Reads what has arrived without waiting for the loop: the last words of a process come before
  // the news of its end. `on_message` runs before this returns.
  void read_all() { receiver_->read_all(); }
  // The service ends: the socket goes.
  void remove();

 private:
  ChildNotify(KeeperClient& keeper, std::string stored_name, std::string path, Fd socket);

  KeeperClient& keeper_;
  std::string stored_name_;
  std::string path_;
  Fd socket_;
  std::unique_ptr<NotifyReceiver> receiver_;
};

// What a datagram says, in the order in which it must be told; child and generation are the
// caller's to fill in.
std::vector<core::Notified> notified_events(const NotifyMessage& message);

}  // namespace pillion::supervisor::host
