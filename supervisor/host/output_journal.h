// What was taken out of a child's pipe and is not yet in its log, in a memory file that the keeper
// holds: a supervisor that is killed at any moment leaves enough for the next one to neither lose a
// byte nor write one twice.
//
// Each step is one that a kill cannot halve. The kernel moves bytes from the pipe to the file and
// advances the file's position within one splice(2); the position, which all holders of the file
// share, is the end of what was read. What is consumed is one word of shared memory. A write to the
// log is announced here before it is made, so that the next supervisor can tell by the log's size
// whether it was.
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
  // Of what was read and not consumed. A caller that leaves more than `kRestBytesMax` unconsumed
  // finds the journal full.
  static constexpr std::size_t kCapacity = 64 * 1024;
  static constexpr std::size_t kRestBytesMax = 16 * 1024;

  static Result<OutputJournal> create();
  // Another supervisor's, as it was left; fails when this is no journal that we understand.
  static Result<OutputJournal> adopt(Fd file);

  OutputJournal(OutputJournal&& other) noexcept;
  OutputJournal& operator=(OutputJournal&&) = delete;
  ~OutputJournal();

  int file() const { return file_.get(); }

  // Moves what is in the pipe, as much as there is room for; the number of bytes, 0 when it was
  // empty. Views from pending() end with this call.
  std::size_t fill(int pipe);
  std::string_view pending() const;

  // The next bytes written to the log are those of `write`, and mean that `consumed` bytes of
  // pending() are dealt with. Then the write, then commit().
  void announce(const LogWrite& write, std::size_t consumed);
  void commit();
  // Consumes without a write: the bytes are dropped.
  void consume(std::size_t count);
  // Announced and not committed: by a supervisor that was killed meanwhile.
  std::optional<LogWrite> announced() const;
  // That write was never made.
  void withdraw();

  // A word for the log's count of dropped records, which has to survive too.
  std::atomic<std::uint64_t>* kept_drops();

 private:
  struct Header;

  OutputJournal(Fd file, void* memory);
  static Result<OutputJournal> map(Fd file);
  void make_room();
  void seek(std::uint64_t position);

  Fd file_;
  Header* header_ = nullptr;  // the start of the mapping
  std::uint64_t tail_ = 0;    // the file's position
};

}  // namespace pillion::supervisor::host
