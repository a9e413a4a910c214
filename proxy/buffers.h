// A worker's memory for bytes: what it reads into, and byte buffers that are reused instead of
// freed, so that its steady state allocates nothing. One pool per worker; not thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/reuse.h"

namespace pillion::proxy {

// Bytes that grow by realloc(3): a large block is moved by remapping its pages, so that growth
// needs no second copy of it.
class GrowingBytes {
 public:
  GrowingBytes() = default;
  GrowingBytes(GrowingBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  GrowingBytes& operator=(GrowingBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~GrowingBytes() { std::free(data_); }

  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  std::string_view view() const { return {data_, size_}; }
  void clear() { size_ = 0; }
  char* data() { return data_; }
  bool is_empty() const { return size_ == 0; }
  void append(std::string_view more) {
    if (!more.empty()) std::memcpy(extend(more.size()), more.data(), more.size());
  }
  // Room behind what is there, to be filled at once; `count` is not zero.
  char* extend(std::size_t count) {
    if (size_ + count > capacity_) grow(size_ + count);
    size_ += count;
    return data_ + size_ - count;
  }
  void erase_front(std::size_t count) {
    std::memmove(data_, data_ + count, size_ - count);
    size_ -= count;
  }

 private:
  void grow(std::size_t least) {
    const std::size_t capacity = std::max({least, 2 * capacity_, std::size_t{64}});
    auto* data = static_cast<char*>(std::realloc(data_, capacity));
    if (data == nullptr) throw std::bad_alloc();
    data_ = data;
    capacity_ = capacity;
  }

  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

class BufferPool {
 public:
  static constexpr std::size_t kReadBytes = 64 * 1024;

  explicit BufferPool(std::size_t read_bytes = kReadBytes)
      : read_bytes_(read_bytes), read_buffer_(new char[read_bytes]) {}

  // For one read, and valid until the next. Little while memory is scarce, so that what a batch of
  // events brings stays below what shedding frees at its end.
  std::span<char> read_buffer() {
    look();
    return {read_buffer_.get(), is_scarce_ ? std::min(kScarceReadBytes, read_bytes_) : read_bytes_};
  }
  // How often one socket is read before the others have their turn.
  int reads_per_turn() const { return is_scarce_ ? 1 : 16; }
  void set_scarce(bool is_scarce) { is_scarce_ = is_scarce; }
  bool is_scarce() const { return is_scarce_; }
  // `call` comes before a read, or by look(), whenever `received` has grown by 512 KiB: nothing
  // that we or the kernel hold grows without that.
  void set_watch(const std::size_t& received, std::function<void()> call) {
    received_ = &received;
    watch_ = std::move(call);
  }
  void look() {
    if (received_ == nullptr || *received_ - seen_ < kLookStep) return;
    seen_ = *received_;
    watch_();
  }

  GrowingBytes take() {
    if (free_.empty()) return {};
    GrowingBytes buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void give(GrowingBytes buffer) {
    const bool is_kept = kIsReusing && !is_scarce_ && free_.size() < kBuffersMax &&
                         buffer.capacity() > 0 && buffer.capacity() <= kCapacityMax;
    if (!is_kept) return;
    buffer.clear();
    free_.push_back(std::move(buffer));
  }
  void clear() { free_.clear(); }

 private:
  static constexpr std::size_t kBuffersMax = 64;
  static constexpr std::size_t kCapacityMax = 160 * 1024;
  static constexpr std::size_t kLookStep = 512 * 1024;
  static constexpr std::size_t kScarceReadBytes = 4096;
  const std::size_t read_bytes_;
  const std::unique_ptr<char[]> read_buffer_;
  std::vector<GrowingBytes> free_;
  bool is_scarce_ = false;
  const std::size_t* received_ = nullptr;
  std::size_t seen_ = 0;  // of it, at the last look
  std::function<void()> watch_;
};

// Bytes waiting to be written or parsed, in order; its memory comes from and returns to a pool.
class ByteQueue {
 public:
  bool is_empty() const { return sent_ == bytes_.size(); }
  std::size_t size() const { return bytes_.size() - sent_; }
  std::size_t capacity() const { return bytes_.capacity(); }
  std::string_view view() const { return bytes_.view().substr(sent_); }
  void append(BufferPool& pool, std::string_view more) {
    if (bytes_.capacity() == 0) bytes_ = pool.take();
    // A queue that is never empty would grow with all that passed through it.
    if (sent_ >= kSentMax && sent_ >= size()) {
      bytes_.erase_front(sent_);
      sent_ = 0;
    }
    bytes_.append(more);
  }
  void consume(BufferPool& pool, std::size_t count) {
    sent_ += count;
    if (sent_ == bytes_.size()) release(pool);
  }
  void release(BufferPool& pool) {
    sent_ = 0;
    pool.give(std::move(bytes_));
  }

 private:
  static constexpr std::size_t kSentMax = 32 * 1024;

  GrowingBytes bytes_;
  std::size_t sent_ = 0;
};

}  // namespace pillion::proxy
