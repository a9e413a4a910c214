#include "adapters/logs/follow/directory_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr std::uint32_t kEntryEvents = IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE;
constexpr std::uint32_t kContentEvents = IN_MODIFY | IN_CLOSE_WRITE;

}  // namespace

DirectoryWatch::DirectoryWatch(Loop& loop, std::function<void(const Event&)> on_event)
    : on_event_(std::move(on_event)),
      inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      poll_(loop, inotify_.get()) {
  if (!inotify_) {
    log::warn("cannot use inotify ({}); files are looked at once a second", std::strerror(errno));
    return;
  }
  poll_.start(kReadable, [this](int, int) { read_events(); });
}

void DirectoryWatch::watch(const std::string& directory) {
  if (!inotify_) return;
  for (const auto& [descriptor, known] : directories_) {
    if (known == directory) return;
  }
  const int descriptor =
      ::inotify_add_watch(inotify_.get(), directory.empty() ? "/" : directory.c_str(),
                          kEntryEvents | kContentEvents | IN_DELETE_SELF);
  if (descriptor >= 0) {
    directories_[descriptor] = directory;
    return;
  }
  if (errno != ENOENT && !is_failure_said_) {
    log::warn("cannot watch {} ({}); it is looked at once a second", directory,
              std::strerror(errno));
    is_failure_said_ = true;
  }
}

void DirectoryWatch::read_events() {
  alignas(inotify_event) char bytes[16384];
  for (;;) {
    const ssize_t count = ::read(inotify_.get(), bytes, sizeof bytes);
    if (count <= 0) return;
    for (const char* p = bytes; p < bytes + count;) {
      inotify_event raw;
      std::memcpy(&raw, p, sizeof raw);
      const char* const name = p + sizeof raw;
      p = name + raw.len;
      Event event;
      event.is_overflow = (raw.mask & IN_Q_OVERFLOW) != 0;
      event.is_content_only = (raw.mask & ~(kContentEvents | IN_ISDIR)) == 0;
      event.name = std::string_view(name, ::strnlen(name, raw.len));
      const auto directory = directories_.find(raw.wd);
      if (directory != directories_.end()) event.directory = directory->second;
      if ((raw.mask & IN_IGNORED) != 0) {  // the directory went away; watch() sets it anew
        directories_.erase(raw.wd);
        continue;
      }
      on_event_(event);
    }
  }
}

}  // namespace pillion::logs
