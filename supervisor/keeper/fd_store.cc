#include "supervisor/keeper/fd_store.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace pillion::keeper {

int FdStore::put(const char* name, int fd) {
  if (name[0] == '\0') return EINVAL;
  Entry* target = nullptr;
  for (Entry& entry : entries_) {
    if (entry.fd >= 0 && std::strcmp(entry.name, name) == 0) {
      ::close(entry.fd);
      entry.fd = fd;
      return 0;
    }
    if (entry.fd < 0 && target == nullptr) target = &entry;
  }
  if (target == nullptr) return ENOSPC;
  target->fd = fd;
  std::snprintf(target->name, sizeof target->name, "%s", name);
  return 0;
}

int FdStore::get(const char* name) const {
  for (const Entry& entry : entries_) {
    if (entry.fd >= 0 && std::strcmp(entry.name, name) == 0) return entry.fd;
  }
  return -1;
}

const char* FdStore::name_at(std::int64_t index) const {
  for (const Entry& entry : entries_) {
    if (entry.fd >= 0 && index-- == 0) return entry.name;
  }
  return nullptr;
}

int FdStore::remove(const char* name) {
  for (Entry& entry : entries_) {
    if (entry.fd < 0 || std::strcmp(entry.name, name) != 0) continue;
    ::close(entry.fd);
    entry.fd = -1;
    return 0;
  }
  return ENOENT;
}

}  // namespace pillion::keeper
