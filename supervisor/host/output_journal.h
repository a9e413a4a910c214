// What was taken out of a child's pipe and is not yet in its log: a ring of bytes in a memory file
// that the keeper holds. A supervisor that is killed at any moment leaves enough for the next one
// to neither lose a byte nor write one twice.
//
// Each step is one that a kill cannot halve. The kernel moves bytes from the pipe to the file and
// advances the file's position within one splice(2); the position, which all holders of the file
// share, is the end of what was read. What is consumed is one word of shared memory. A write to the
// log is announced here before it is made, so that the next supervisor can tell by the log's size
// whether it was.
//
// One thread fills it, and one may consume at the same time. Positions count all bytes that ever
// went through, and never wrap.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/fd.h"

namespace pillion::supervisor::host {

// One append to a log file, announced: its bytes begin at `offset` of the file with that inode.
struct LogWrite {
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class OutputJournal {
 public:
  // A capacity is a multiple of it.
  static constexpr std::uint64_t kCapacityMin = 64 * 1024;

  // Memory is taken as bytes come, up to `capacity`, rounded up, and given back when all is
  // consumed.
  static Result<OutputJournal> create(std::uint64_t capacity = kCapacityMin);
  // Another supervisor's, as it was left; fails when this is no journal that we understand.
  static Result<OutputJournal> adopt(Fd file);

  OutputJournal(OutputJournal&& other) noexcept;
  OutputJournal& operator=(OutputJournal&&) = delete;
  ~OutputJournal();

  int file() const { return file_.get(); }
  std::uint64_t capacity() const { return capacity_; }

  // For who fills.

  // Moves what is in the pipe, as much as there is room for; the number of bytes, 0 when the pipe
  // was empty or the ring is full. Views from bytes() end with this call.
  std::size_t fill(int pipe);
  // The same with bytes that the caller has; as many as there is room for. There always is for one
  // byte more than fill() leaves.
  std::size_t append(std::string_view bytes);
  std::uint64_t room() const;

  // For both.

  std::uint64_t head() const;  // where what is not consumed begins
  std::uint64_t tail() const { return tail_.load(std::memory_order_acquire); }
  // From `position`, not before head(), to the tail.
  std::string_view bytes(std::uint64_t position) const;

  // For who consumes.

  // The next bytes written to the log are those of `write`, and mean that `consumed` bytes from the
  // head, and `marked` late drops, are dealt with. Then the write, then commit().
  void announce(const LogWrite& write, std::size_t consumed, std::uint64_t marked = 0);
  void commit();
  // Consumes without a write: the bytes are dropped.
  void consume(std::size_t count);
  // What an earlier supervisor had announced and not committed.
  std::optional<LogWrite> announced() const;
  void withdraw();

  // Words for counts of dropped records that have to survive, too: what the log refused, and what
  // found the ring full.
  std::atomic<std::uint64_t>* kept_drops();
  std::atomic<std::uint64_t>& late_drops();

 private:
  struct Header;

  OutputJournal(Fd file, void* memory, std::uint64_t capacity);
  static Result<OutputJournal> map(Fd file, std::uint64_t capacity);
  void rewind();
  void seek(std::uint64_t offset);
  char* data() const;

  Fd file_;
  Header* header_ = nullptr;  // the start of the mapping; the ring follows twice
  std::uint64_t capacity_ = 0;
  std::uint64_t offset_ = 0;      // the file's position, within the ring
  std::uint64_t high_water_ = 0;  // of the offsets, since memory was given back
  std::atomic<std::uint64_t> tail_{0};
};

}  // namespace pillion::supervisor::host
