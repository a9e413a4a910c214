// Byte buffers that are reused instead of freed, so that the steady state of a worker allocates
// nothing. One pool per worker; not thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pillion::proxy {

class BufferPool {
 public:
  std::string take() {
    if (free_.empty()) return {};
    std::string buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void give(std::string&& buffer) {
    if (buffer.capacity() < kWorthKeeping) return;
    if (free_.size() >= kBuffersMax || buffer.capacity() > kCapacityMax) {
      std::string().swap(buffer);
      return;
    }
    buffer.clear();
    free_.push_back(std::move(buffer));
    buffer = std::string();
  }
  void clear() { free_.clear(); }
  // Bytes in all the queues of this pool.
  std::size_t held() const { return held_; }

 private:
  friend class ByteQueue;

  static constexpr std::size_t kWorthKeeping = 64;
  static constexpr std::size_t kBuffersMax = 64;
  static constexpr std::size_t kCapacityMax = 160 * 1024;
  std::vector<std::string> free_;
  std::size_t held_ = 0;
};

// Bytes waiting to be written or parsed, in order; its memory comes from and returns to a pool.
class ByteQueue {
 public:
  bool is_empty() const { return sent_ == bytes_.size(); }
  std::size_t size() const { return bytes_.size() - sent_; }
  std::size_t capacity() const { return bytes_.capacity(); }
  std::string_view view() const { return std::string_view(bytes_).substr(sent_); }
  void append(BufferPool& pool, std::string_view more) {
    if (bytes_.empty() && bytes_.capacity() < kSmall) bytes_ = pool.take();
    // A queue that is never empty would grow with all that passed through it.
    if (sent_ >= kSentMax && sent_ >= size()) {
      bytes_.erase(0, sent_);
      sent_ = 0;
    }
    bytes_.append(more);
    pool.held_ += more.size();
  }
  void consume(BufferPool& pool, std::size_t count) {
    sent_ += count;
    pool.held_ -= count;
    if (sent_ == bytes_.size()) release(pool);
  }
  void release(BufferPool& pool) {
    pool.held_ -= size();
    sent_ = 0;
    bytes_.clear();
    pool.give(std::move(bytes_));
  }

 private:
  static constexpr std::size_t kSmall = 64;  // what a string holds without the pool is less
  static constexpr std::size_t kSentMax = 32 * 1024;

  std::string bytes_;
  std::size_t sent_ = 0;
};

}  // namespace pillion::proxy
