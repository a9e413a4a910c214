#include "supervisor/host/child_notify.h"

#include <unistd.h>

namespace pillion::supervisor::host {

ChildNotify::ChildNotify(KeeperClient& keeper, std::string stored_name, std::string path, Fd socket)
    : keeper_(keeper),
      stored_name_(std::move(stored_name)),
      path_(std::move(path)),
      socket_(std::move(socket)) {}

Result<std::unique_ptr<ChildNotify>> ChildNotify::create(
    Loop& loop, KeeperClient& keeper, const std::string& child, const std::string& path,
    std::function<void(const NotifyMessage&)> on_message) {
  const std::string stored_name = "notify:" + child;
  auto stored = keeper.get_fd(stored_name);
  if (!stored) {
    auto bound = bind_notify_socket(path);
    if (!bound) return fail(bound.error());
    if (auto put = keeper.put_fd(stored_name, bound->get()); !put) return fail(put.error());
    stored = std::move(*bound);
  }
  std::unique_ptr<ChildNotify> notify(
      new ChildNotify(keeper, stored_name, path, std::move(*stored)));
  notify->receiver_ = std::make_unique<NotifyReceiver>(
      loop, notify->socket_.get(),
      [on_message = std::move(on_message)](const NotifyMessage& message) { on_message(message); });
  return notify;
}

void ChildNotify::remove() {
  receiver_.reset();
  keeper_.remove_fd(stored_name_);
  ::unlink(path_.c_str());
}

std::vector<core::Notified> notified_events(const NotifyMessage& message) {
  using Kind = core::Notified::Kind;
  std::vector<core::Notified> events;
  const auto add = [&](const char* key, Kind kind, bool is_flag) {
    const auto found = message.fields.find(key);
    if (found == message.fields.end() || (is_flag && found->second != "1")) return;
    core::Notified event;
    event.kind = kind;
    if (!is_flag) event.text = found->second;
    events.push_back(std::move(event));
  };
  add("STATUS", Kind::Status, false);
  add("X_PILLION_RECEIPT", Kind::Receipt, false);
  add("READY", Kind::Ready, true);
  add("RELOADING", Kind::Reloading, true);
  add("STOPPING", Kind::Stopping, true);
  add("WATCHDOG", Kind::Watchdog, true);
  return events;
}

}  // namespace pillion::supervisor::host
