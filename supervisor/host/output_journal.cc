#include "supervisor/host/output_journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {
namespace {

constexpr std::uint64_t kMagic = 0x3130'4a4f'4c50;  // "PLOJ01"
constexpr std::uint64_t kStart = 4096;              // of the data; the header comes before
constexpr std::uint64_t kEnd = kStart + OutputJournal::kCapacity;

}  // namespace

// Words that are each written at once; what belongs together is made valid by the last of them.
struct OutputJournal::Header {
  std::uint64_t magic;
  std::atomic<std::uint64_t> head;   // offset of the first byte that is not consumed
  std::atomic<std::uint64_t> moved;  // bytes copied to kStart, on their way to be all there is
  LogWrite write;
  std::atomic<std::uint64_t> head_after;  // 0 = nothing is announced
  std::atomic<std::uint64_t> drops;
};

OutputJournal::OutputJournal(Fd file, void* memory)
    : file_(std::move(file)), header_(static_cast<Header*>(memory)) {}

OutputJournal::OutputJournal(OutputJournal&& other) noexcept
    : file_(std::move(other.file_)), header_(other.header_), tail_(other.tail_) {
  other.header_ = nullptr;
}

OutputJournal::~OutputJournal() {
  if (header_ != nullptr) ::munmap(header_, kEnd);
}

Result<OutputJournal> OutputJournal::map(Fd file) {
  void* memory = ::mmap(nullptr, kEnd, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return fail_errno("cannot map an output journal");
  return OutputJournal(std::move(file), memory);
}

Result<OutputJournal> OutputJournal::create() {
  Fd file(::memfd_create("pillion-output", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(kEnd)) < 0) {
    return fail_errno("cannot create an output journal");
  }
  auto journal = map(std::move(file));
  if (!journal) return journal;
  journal->seek(kStart);
  journal->header_->head = kStart;
  journal->header_->magic = kMagic;
  return journal;
}

Result<OutputJournal> OutputJournal::adopt(Fd file) {
  struct stat status {};
  if (::fstat(file.get(), &status) < 0 || status.st_size != static_cast<off_t>(kEnd)) {
    return fail("this is not an output journal of this version");
  }
  auto journal = map(std::move(file));
  if (!journal) return journal;
  Header& header = *journal->header_;
  if (header.magic != kMagic) return fail("this is not an output journal of this version");
  // Finishes what make_room() had begun.
  if (const std::uint64_t moved = header.moved) {
    journal->seek(kStart + moved);
    header.head = kStart;
    header.moved = 0;
  }
  journal->tail_ = static_cast<std::uint64_t>(::lseek(journal->file(), 0, SEEK_CUR));
  if (header.head > journal->tail_) header.head = kStart;
  return journal;
}

void OutputJournal::seek(std::uint64_t position) {
  static_cast<void>(::lseek(file_.get(), static_cast<off_t>(position), SEEK_SET));
  tail_ = position;
}

// The rest of a line moves to the start once there is little room behind it. The order matters:
// adopt() continues from any point in between.
void OutputJournal::make_room() {
  if (header_->head == tail_) {
    if (tail_ == kStart) return;
    seek(kStart);
    header_->head = kStart;
    return;
  }
  const std::uint64_t rest = tail_ - header_->head;
  if (kEnd - tail_ >= kRestBytesMax || rest > kRestBytesMax) return;
  char* memory = reinterpret_cast<char*>(header_);
  std::memcpy(memory + kStart, memory + header_->head, rest);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  header_->moved = rest;
  failpoint("output moved");
  seek(kStart + rest);
  header_->head = kStart;
  header_->moved = 0;
}

std::size_t OutputJournal::fill(int pipe) {
  make_room();
  if (tail_ == kEnd) return 0;
  ssize_t count = 0;
  do {
    count = ::splice(pipe, nullptr, file_.get(), nullptr, kEnd - tail_, SPLICE_F_NONBLOCK);
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return 0;
  tail_ += static_cast<std::uint64_t>(count);
  return static_cast<std::size_t>(count);
}

std::string_view OutputJournal::pending() const {
  const char* memory = reinterpret_cast<const char*>(header_);
  return {memory + header_->head, tail_ - header_->head};
}

void OutputJournal::announce(const LogWrite& write, std::size_t consumed) {
  header_->write = write;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  header_->head_after = header_->head + consumed;
}

void OutputJournal::commit() {
  if (header_->head_after == 0) return;
  header_->head = header_->head_after.load();
  header_->head_after = 0;
}

void OutputJournal::consume(std::size_t count) {
  header_->head_after = 0;
  header_->head += count;
}

std::optional<LogWrite> OutputJournal::announced() const {
  if (header_->head_after == 0) return std::nullopt;
  return header_->write;
}

void OutputJournal::withdraw() { header_->head_after = 0; }

std::atomic<std::uint64_t>* OutputJournal::kept_drops() { return &header_->drops; }

}  // namespace pillion::supervisor::host
