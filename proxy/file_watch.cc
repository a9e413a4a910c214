#include "proxy/file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "runtime/log.h"

namespace pillion::proxy {
namespace {

constexpr std::chrono::milliseconds kSettle{100};
constexpr std::chrono::seconds kPeriod{30};

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

FileWatch::FileWatch(Loop& loop, const std::vector<std::string>& files,
                     std::function<void()> on_change)
    : inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), on_change_(std::move(on_change)) {
  settle_ = std::make_unique<Timer>(loop);
  periodic_ = std::make_unique<Timer>(loop);
  periodic_->start(kPeriod, kPeriod, [this] { on_change_(); });
  std::set<std::string> directories;
  for (const std::string& file : files) directories.insert(directory_of(file));
  if (!inotify_) return;
  for (const std::string& directory : directories) {
    constexpr std::uint32_t kEvents =
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR;
    if (inotify_add_watch(inotify_.get(), directory.c_str(), kEvents) < 0) {
      log::warn("cannot watch {}; its files are looked at every 30 s", directory);
    }
  }
  poll_ = std::make_unique<Poll>(loop, inotify_.get());
  poll_->start(kReadable, [this](int, int) { on_events(); });
}

void FileWatch::on_events() {
  alignas(inotify_event) char buffer[4096];
  while (read(inotify_.get(), buffer, sizeof buffer) > 0) {
  }
  settle_->start(kSettle, [this] { on_change_(); });
}

}  // namespace pillion::proxy
