#include "supervisor/host/output_journal.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {
namespace {

constexpr std::uint64_t kMagic = 0x3230'4a4f'4c50;  // "PLOJ02"
constexpr std::uint64_t kStart = 4096;              // of the ring; the header comes before
constexpr std::uint64_t kSpare = 2;  // never filled: full is not empty, and a line can be ended
constexpr std::uint64_t kKeptBytes = 64 * 1024;  // of memory that stays when all is consumed

}  // namespace

// Words that are each written at once; what belongs together is made valid by the last of them.
struct OutputJournal::Header {
  std::uint64_t magic;
  std::atomic<std::uint64_t> head;    // position of the first byte that is not consumed
  std::atomic<std::uint64_t> rewind;  // the head's next value, the file's position is to be 0
  LogWrite write;
  std::uint64_t marked;                   // with it
  std::atomic<std::uint64_t> head_after;  // 0 = nothing is announced
  std::atomic<std::uint64_t> drops;
  std::atomic<std::uint64_t> late_drops;
};

OutputJournal::OutputJournal(Fd file, void* memory, std::uint64_t capacity)
    : file_(std::move(file)), header_(static_cast<Header*>(memory)), capacity_(capacity) {}

OutputJournal::OutputJournal(OutputJournal&& other) noexcept
    : file_(std::move(other.file_)),
      header_(other.header_),
      capacity_(other.capacity_),
      offset_(other.offset_),
      high_water_(other.high_water_),
      tail_(other.tail_.load()) {
  other.header_ = nullptr;
}

OutputJournal::~OutputJournal() {
  if (header_ != nullptr) ::munmap(header_, kStart + 2 * capacity_);
}

char* OutputJournal::data() const { return reinterpret_cast<char*>(header_) + kStart; }

// The ring twice in a row, so that every part of it is one view.
Result<OutputJournal> OutputJournal::map(Fd file, std::uint64_t capacity) {
  constexpr int kAccess = PROT_READ | PROT_WRITE;
  void* memory = ::mmap(nullptr, kStart + 2 * capacity, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail_errno("cannot map an output journal");
  OutputJournal journal(std::move(file), memory, capacity);
  char* const again = journal.data() + capacity;
  if (::mmap(memory, kStart + capacity, kAccess, MAP_SHARED | MAP_FIXED, journal.file(), 0) ==
          MAP_FAILED ||
      ::mmap(again, capacity, kAccess, MAP_SHARED | MAP_FIXED, journal.file(), kStart) ==
          MAP_FAILED) {
    return fail_errno("cannot map an output journal");
  }
  return journal;
}

Result<OutputJournal> OutputJournal::create(std::uint64_t capacity) {
  capacity =
      std::max((capacity + kCapacityMin - 1) / kCapacityMin, std::uint64_t{1}) * kCapacityMin;
  Fd file(::memfd_create("pillion-output", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(kStart + capacity)) < 0) {
    return fail_errno("cannot create an output journal");
  }
  auto journal = map(std::move(file), capacity);
  if (!journal) return journal;
  journal->seek(0);
  journal->header_->magic = kMagic;
  return journal;
}

Result<OutputJournal> OutputJournal::adopt(Fd file) {
  constexpr char kForeign[] = "this is not an output journal of this version";
  struct stat status {};
  if (::fstat(file.get(), &status) < 0) return fail(kForeign);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < kStart + kCapacityMin || (size - kStart) % kCapacityMin != 0) return fail(kForeign);
  auto journal = map(std::move(file), size - kStart);
  if (!journal) return journal;
  Header& header = *journal->header_;
  if (header.magic != kMagic) return fail(kForeign);
  if (const std::uint64_t head = header.rewind) {  // finish what rewind() had begun
    journal->seek(0);
    header.head = head;
    header.rewind = 0;
  }
  const std::uint64_t capacity = journal->capacity_;
  const off_t position = ::lseek(journal->file(), 0, SEEK_CUR);
  const std::uint64_t offset = static_cast<std::uint64_t>(position) - kStart;
  if (offset > capacity || header.head == 0) return fail(kForeign);
  journal->offset_ = offset;
  journal->high_water_ = capacity;
  const std::uint64_t head = header.head;
  journal->tail_ = head + (offset % capacity + capacity - head % capacity) % capacity;
  return journal;
}

void OutputJournal::seek(std::uint64_t offset) {
  static_cast<void>(::lseek(file_.get(), static_cast<off_t>(kStart + offset), SEEK_SET));
  offset_ = offset;
  // Positions begin at the second round, so that none is 0.
  if (header_->head == 0) {
    header_->head = capacity_;
    tail_ = capacity_;
  }
}

std::uint64_t OutputJournal::head() const { return header_->head.load(std::memory_order_acquire); }

std::uint64_t OutputJournal::room() const {
  const std::uint64_t used = tail() - head();
  return used + kSpare >= capacity_ ? 0 : capacity_ - kSpare - used;
}

// All is consumed: the next bytes go to the start, so that the ring takes little memory while its
// child says little. adopt() continues from any point in between.
void OutputJournal::rewind() {
  if (offset_ == 0 || head() != tail()) return;
  const std::uint64_t next = (tail() / capacity_ + 1) * capacity_;
  header_->rewind = next;
  failpoint("output rewound");
  seek(0);
  tail_ = next;
  header_->head = next;
  header_->rewind = 0;
  if (high_water_ <= kKeptBytes) return;
  static_cast<void>(!::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 static_cast<off_t>(kStart + kKeptBytes),
                                 static_cast<off_t>(capacity_ - kKeptBytes)));
  high_water_ = 0;
}

std::size_t OutputJournal::fill(int pipe) {
  rewind();
  if (offset_ == capacity_) seek(0);
  const std::uint64_t count_max = std::min(room(), capacity_ - offset_);
  if (count_max == 0) return 0;
  ssize_t count = 0;
  do {
    count = ::splice(pipe, nullptr, file_.get(), nullptr, count_max, SPLICE_F_NONBLOCK);
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return 0;
  offset_ += static_cast<std::uint64_t>(count);
  high_water_ = std::max(high_water_, offset_);
  tail_.store(tail() + static_cast<std::uint64_t>(count), std::memory_order_release);
  return static_cast<std::size_t>(count);
}

std::size_t OutputJournal::append(std::string_view bytes) {
  std::size_t total = 0;
  while (total < bytes.size()) {
    if (offset_ == capacity_) seek(0);
    // Of the two spare bytes one may be used here.
    const std::uint64_t free = capacity_ - 1 - (tail() - head());
    const std::uint64_t count_max = std::min({bytes.size() - total, static_cast<std::size_t>(free),
                                              static_cast<std::size_t>(capacity_ - offset_)});
    if (count_max == 0) return total;
    const ssize_t count = ::write(file_.get(), bytes.data() + total, count_max);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return total;
    offset_ += static_cast<std::uint64_t>(count);
    high_water_ = std::max(high_water_, offset_);
    tail_.store(tail() + static_cast<std::uint64_t>(count), std::memory_order_release);
    total += static_cast<std::size_t>(count);
  }
  return total;
}

std::string_view OutputJournal::bytes(std::uint64_t position) const {
  return {data() + position % capacity_, tail() - position};
}

void OutputJournal::announce(const LogWrite& write, std::size_t consumed, std::uint64_t marked) {
  header_->write = write;
  header_->marked = marked;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  header_->head_after = header_->head + consumed;
}

void OutputJournal::commit() {
  if (header_->head_after == 0) return;
  // A kill in between marks them once more rather than never.
  const std::uint64_t marked = header_->marked;
  header_->marked = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (marked != 0) header_->late_drops -= marked;
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

std::atomic<std::uint64_t>& OutputJournal::late_drops() { return header_->late_drops; }

}  // namespace pillion::supervisor::host
