#include "supervisor/keeper/runtime_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace pillion::keeper {
namespace {

bool complain(const char* what, const char* path) {
  const bool is_refused = errno == EROFS || errno == EACCES || errno == EPERM;
  std::fprintf(stderr, "pillion: cannot %s %s: %s%s\n", what, path, std::strerror(errno),
               is_refused ? "; PILLION_RUNTIME_DIR may name a directory that can be written" : "");
  return false;
}

bool make_directories(const char* path) {
  char partial[PATH_MAX];
  if (std::snprintf(partial, sizeof partial, "%s", path) >= static_cast<int>(sizeof partial)) {
    errno = ENAMETOOLONG;
    return complain("create", path);
  }
  for (char* slash = std::strchr(partial + 1, '/'); slash; slash = std::strchr(slash + 1, '/')) {
    *slash = '\0';
    if (::mkdir(partial, 0755) < 0 && errno != EEXIST) return complain("create", partial);
    *slash = '/';
  }
  if (::mkdir(partial, 0755) < 0 && errno != EEXIST) return complain("create", partial);
  return true;
}

bool complain_running(int lock, const char* service) {
  char owner[32] = {};
  if (::pread(lock, owner, sizeof owner - 1, 0) <= 0) std::strcpy(owner, "unknown");
  owner[std::strcspn(owner, "\n")] = '\0';
  std::fprintf(stderr,
               "pillion: service \"%s\" is running already (pid %s); stop it with `pillion stop "
               "%s` first\n",
               service, owner, service);
  return false;
}

// The lock file is unlinked when its owner ends, so a lock on a file that no longer has the name
// protects nothing: then try again with the new file.
bool take_lock(const char* path, const char* service, int* lock) {
  for (;;) {
    const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return complain("open", path);
    if (::flock(fd, LOCK_EX | LOCK_NB) < 0) {
      const bool is_running = errno == EWOULDBLOCK;
      if (is_running) complain_running(fd, service);
      if (!is_running) complain("lock", path);
      ::close(fd);
      return false;
    }
    struct stat named {};
    struct stat held {};
    if (::stat(path, &named) == 0 && ::fstat(fd, &held) == 0 && named.st_ino == held.st_ino) {
      char pid[16];
      const int size = std::snprintf(pid, sizeof pid, "%d\n", static_cast<int>(::getpid()));
      if (::ftruncate(fd, 0) < 0 || ::pwrite(fd, pid, static_cast<size_t>(size), 0) != size) {
        complain("write", path);
      }
      *lock = fd;
      return true;
    }
    ::close(fd);
  }
}

bool bind_control(const char* path, int* result) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return complain("bind", path);
  }
  std::strcpy(address.sun_path, path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return complain("create socket", path);
  ::unlink(path);  // left by a crashed run; the lock says that nobody serves it
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      ::chmod(path, 0600) < 0) {
    ::close(fd);
    return complain("bind", path);
  }
  *result = fd;
  return true;
}

bool join(char* target, const char* directory, const char* name) {
  return std::snprintf(target, PATH_MAX, "%s/%s", directory, name) < PATH_MAX;
}

}  // namespace

bool open_runtime_directory(const char* path, const char* service, RuntimeDirectory* directory) {
  char file[PATH_MAX];
  directory->path = path;
  if (!make_directories(path)) return false;
  if (!join(file, path, "lock") || !take_lock(file, service, &directory->lock)) return false;
  if (!join(file, path, "control") || !bind_control(file, &directory->control)) {
    return false;
  }
  if (::listen(directory->control, 64) < 0) return complain("listen on", file);
  return true;
}

void remove_runtime_directory(const RuntimeDirectory& directory) {
  if (directory.lock < 0) return;
  char file[PATH_MAX];
  for (const char* name : {"control", "lock"}) {
    if (join(file, directory.path, name)) ::unlink(file);
  }
  ::rmdir(directory.path);
}

}  // namespace pillion::keeper
