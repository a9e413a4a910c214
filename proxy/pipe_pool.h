// Pipes that carry bytes from one socket to another inside the kernel (splice(2)). Lent for as long
// as something is in them or about to be, so that an idle relay holds none. One pool per worker.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/fd.h"

namespace pillion::proxy {

struct Pipe {
  Fd reader;
  Fd writer;
  std::size_t held = 0;  // bytes in it
};

class PipePool {
 public:
  static constexpr std::size_t kPipeBytes = 256 * 1024;

  // Null when the process may have no more descriptors.
  std::unique_ptr<Pipe> take() {
    if (!free_.empty()) {
      auto pipe = std::move(free_.back());
      free_.pop_back();
      return pipe;
    }
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
    auto pipe = std::make_unique<Pipe>();
    pipe->reader = Fd(ends[0]);
    pipe->writer = Fd(ends[1]);
    fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);  // else it keeps the system's 64 KiB
    return pipe;
  }
  // One that still holds bytes is closed instead.
  void give(std::unique_ptr<Pipe> pipe) {
    if (pipe && pipe->held == 0 && free_.size() < kFreeMax) free_.push_back(std::move(pipe));
  }
  void clear() { free_.clear(); }

 private:
  static constexpr std::size_t kFreeMax = 32;
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace pillion::proxy
