// Ownership of file descriptors. Every descriptor in Pillion is close-on-exec from birth; the exec
// stage of a child is the only place that clears the flag, for the descriptors it hands over.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "runtime/result.h"

namespace pillion {

// Owns one file descriptor and closes it on destruction. Movable, not copyable; -1 is "none".
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  explicit operator bool() const { return is_open(); }

  // Gives the descriptor away; the caller closes it.
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

  // A second descriptor for the same open file, close-on-exec.
  Result<Fd> duplicate() const;

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read_end;
  Fd write_end;
};

// Both ends close-on-exec. `flags` adds O_NONBLOCK and the like.
Result<Pipe> make_pipe(int flags = 0);

Result<void> set_nonblocking(int fd, bool is_nonblocking);

// Opens with O_CLOEXEC added; the error names the path.
Result<Fd> open_file(const std::string& path, int flags, unsigned mode = 0);

// The whole content; an error when it is longer than `bytes_max`.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max = 16u << 20);

// Writes all of `content` to `path` so that a reader sees the old or the new file, never a part:
// temporary file in the same directory, fsync, rename, fsync of the directory.
Result<void> write_file_atomically(const std::string& path, std::string_view content,
                                   unsigned mode);

// Writes all bytes to a blocking descriptor, retrying short writes and EINTR.
Result<void> write_all(int fd, std::string_view bytes);

}  // namespace pillion
