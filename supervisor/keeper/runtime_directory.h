// The service's runtime directory: created, locked against a second run, and given the sockets that
// must exist as long as the service does.
#pragma once

namespace pillion::keeper {

struct RuntimeDirectory {
  const char* path = nullptr;
  int lock = -1;     // flock held for the keeper's life; the file holds its pid
  int control = -1;  // listening Unix stream socket `control`
};

// False after it printed why to stderr: "… is running already (pid N)".
bool open_runtime_directory(const char* path, const char* service, RuntimeDirectory* directory);

// Removes what open_runtime_directory made, and the directory when nothing else is left in it.
void remove_runtime_directory(const RuntimeDirectory& directory);

}  // namespace pillion::keeper
