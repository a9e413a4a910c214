// Named file descriptors that outlive the supervisor: pipes of children, listening sockets,
// namespaces. Fixed capacity, no heap; owns what it holds.
#pragma once

#include "supervisor/keeper/protocol.h"

namespace pillion::keeper {

class FdStore {
 public:
  // Takes ownership of `fd` on success (0), closing an older one of that name. ENOSPC when full,
  // EINVAL for an empty name; then `fd` stays the caller's.
  int put(const char* name, int fd);

  // The stored descriptor (still owned by the store), -1 when there is none.
  int get(const char* name) const;

  // The name of the `index`-th entry, null past the end.
  const char* name_at(std::int64_t index) const;

  // ENOENT for an unknown name.
  int remove(const char* name);

 private:
  struct Entry {
    int fd = -1;
    char name[kNameSize] = {};
  };
  Entry entries_[kFdsMax];
};

}  // namespace pillion::keeper
