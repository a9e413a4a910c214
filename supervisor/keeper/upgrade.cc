// Replacing the keeper's program under running children. The state goes into a memory file; the
// program that is installed now is first tried on it in a process of its own, then executed in
// place: same pid, same children, same descriptors.
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "supervisor/keeper/keeper.h"

namespace pillion::keeper {
namespace {

constexpr std::uint64_t kCheckNs = 10'000'000'000;
constexpr std::uint64_t kSupervisorEndNs = 5'000'000'000;
constexpr std::uint32_t kStateMagic = 0x504b5331;  // "PKS1"
constexpr std::uint16_t kStateVersion = 1;

// Then `fd_count` × StoredFd, `record_count` × StoredRecord, `signal_count` × QueuedSignal, each of
// the size given here: a reader takes what it knows of each and skips the rest.
struct StateHeader {
  std::uint32_t magic = kStateMagic;
  std::uint16_t version = kStateVersion;
  std::uint16_t oldest_reader = kStateVersion;
  std::uint32_t header_size = sizeof(StateHeader);
  std::uint32_t fd_size = 0;
  std::uint32_t record_size = 0;
  std::uint32_t signal_size = 0;
  std::uint32_t fd_count = 0;
  std::uint32_t record_count = 0;
  std::uint32_t signal_count = 0;
  std::int32_t lock = -1;
  std::int32_t previous_supervisor = -1;
  std::int32_t restarts = 0;
  std::int64_t last_record_id = 0;
  std::uint64_t last_signal_serial = 0;
};

struct StoredFd {
  std::int32_t fd = -1;
  char name[kNameSize] = {};
};

struct StoredRecord {
  Message message;
  std::int64_t go = -1;
};

bool write_piece(int file, const void* piece, std::size_t size) {
  return ::write(file, piece, size) == static_cast<ssize_t>(size);
}

// Reads `written` bytes of which only the first `known` mean something to us.
bool read_piece(int file, off_t* offset, void* piece, std::size_t known, std::size_t written) {
  const std::size_t size = known < written ? known : written;
  if (::pread(file, piece, size, *offset) != static_cast<ssize_t>(size)) return false;
  *offset += static_cast<off_t>(written);
  return true;
}

bool read_header(int state, StateHeader* header, off_t* offset) {
  StateHeader first;
  if (!read_piece(state, offset, &first, sizeof first, sizeof first) ||
      first.magic != kStateMagic) {
    std::fprintf(stderr, "pillion-keeper: cannot read the state of the running keeper\n");
    return false;
  }
  if (first.oldest_reader > kStateVersion) {
    std::fprintf(stderr,
                 "pillion-keeper: the running keeper is newer (state format %u, this program knows "
                 "%u)\n",
                 first.version, kStateVersion);
    return false;
  }
  *header = first;
  *offset = static_cast<off_t>(first.header_size);
  return first.fd_count <= kFdsMax && first.record_count <= kChildrenMax &&
         first.signal_count <= SignalQueue::kCapacity;
}

}  // namespace

bool Keeper::check_state(int state) {
  StateHeader header;
  off_t offset = 0;
  if (!read_header(state, &header, &offset)) return false;
  const std::uint64_t size = header.header_size + std::uint64_t{header.fd_count} * header.fd_size +
                             std::uint64_t{header.record_count} * header.record_size +
                             std::uint64_t{header.signal_count} * header.signal_size;
  const off_t end = ::lseek(state, 0, SEEK_END);
  if (end == static_cast<off_t>(size)) return true;
  std::fprintf(stderr, "pillion-keeper: the state of the running keeper is incomplete\n");
  return false;
}

int Keeper::write_state() const {
  const int file = ::memfd_create("pillion-keeper-state", MFD_CLOEXEC);
  if (file < 0) return -1;
  StateHeader header;
  header.fd_size = sizeof(StoredFd);
  header.record_size = sizeof(StoredRecord);
  header.signal_size = sizeof(QueuedSignal);
  header.lock = directory_.lock;
  header.previous_supervisor = previous_supervisor_;
  header.restarts = restarts_;
  header.last_record_id = ledger_.last_id();
  header.last_signal_serial = queue_.last_serial();
  while (fds_.name_at(header.fd_count) != nullptr) ++header.fd_count;
  while (ledger_.at(header.record_count) != nullptr) ++header.record_count;
  for (int i = 0; i < SignalQueue::kCapacity; ++i) {
    if (queue_.entries()[i].serial != 0) ++header.signal_count;
  }
  bool is_written = write_piece(file, &header, sizeof header);
  for (std::uint32_t i = 0; i < header.fd_count; ++i) {
    StoredFd stored;
    std::snprintf(stored.name, sizeof stored.name, "%s", fds_.name_at(i));
    stored.fd = fds_.get(stored.name);
    is_written = is_written && write_piece(file, &stored, sizeof stored);
  }
  for (std::uint32_t i = 0; i < header.record_count; ++i) {
    const StoredRecord stored{*ledger_.at(i), ledger_.go_at(i)};
    is_written = is_written && write_piece(file, &stored, sizeof stored);
  }
  for (int i = 0; i < SignalQueue::kCapacity; ++i) {
    const QueuedSignal& signal = queue_.entries()[i];
    if (signal.serial == 0) continue;
    is_written = is_written && write_piece(file, &signal, sizeof signal);
  }
  if (is_written) return file;
  ::close(file);
  return -1;
}

bool Keeper::resume() {
  const int state = options_.resumed_state;
  ::syscall(SYS_close_range, 3u, ~0u, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
  take_version();
  StateHeader header;
  off_t offset = 0;
  if (!check_state(state) || !read_header(state, &header, &offset)) return false;
  directory_.path = options_.runtime_directory;
  directory_.lock = header.lock;
  previous_supervisor_ = header.previous_supervisor;
  is_trial_ = true;
  restarts_ = header.restarts;
  ledger_.set_last_id(header.last_record_id);
  queue_.set_last_serial(header.last_signal_serial);
  for (std::uint32_t i = 0; i < header.fd_count; ++i) {
    StoredFd stored;
    if (!read_piece(state, &offset, &stored, sizeof stored, header.fd_size)) return false;
    stored.name[kNameSize - 1] = '\0';
    fds_.put(stored.name, stored.fd);
  }
  for (std::uint32_t i = 0; i < header.record_count; ++i) {
    StoredRecord stored;
    if (!read_piece(state, &offset, &stored, sizeof stored, header.record_size)) return false;
    ledger_.restore(stored.message, static_cast<int>(stored.go));
  }
  for (std::uint32_t i = 0; i < header.signal_count; ++i) {
    QueuedSignal stored;
    if (!read_piece(state, &offset, &stored, sizeof stored, header.signal_size)) return false;
    queue_.restore(stored);
  }
  directory_.control = fds_.get("control");
  ::close(state);
  if (!open_signals()) return false;
  reap();  // who died meanwhile
  return true;
}

int Keeper::answer_upgrade(const Message& message, int fd) {
  if (is_finishing_ || is_abandoning_) return ESHUTDOWN;
  if (message.value == 0) return upgrade_ == Upgrade::None ? start_check() : EALREADY;
  if (message.value != 1 || upgrade_ != Upgrade::None) return EINVAL;
  upgrade_ = Upgrade::WaitingForSupervisor;
  if (previous_supervisor_ >= 0) ::close(previous_supervisor_);
  previous_supervisor_ = fd;
  finish_deadline_ns_ = now_ns(CLOCK_MONOTONIC) + kSupervisorEndNs;
  return 0;
}

int Keeper::start_check() {
  const int state = write_state();
  if (state < 0) return errno;
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int inherited = ::fcntl(state, F_DUPFD, 3);
    char number[16];
    std::snprintf(number, sizeof number, "%d", inherited);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execl(options_.program, options_.program, "--check-state", number, nullptr);
    std::fprintf(stderr, "pillion: cannot start %s: %s\n", options_.program, std::strerror(errno));
    ::_exit(127);
  }
  const int error = errno;
  ::close(state);
  if (pid < 0) return error;
  checker_ = pid;
  check_deadline_ns_ = now_ns(CLOCK_MONOTONIC) + kCheckNs;
  upgrade_ = Upgrade::Checking;
  return 0;
}

void Keeper::on_checked(int wait_status) {
  checker_ = 0;
  if (upgrade_ == Upgrade::Checking) upgrade_ = Upgrade::None;
  upgrade_verdict_ = Message{};
  upgrade_verdict_.type = MessageType::Upgrade;
  upgrade_verdict_.error = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0 ? 0 : ENOEXEC;
  has_upgrade_verdict_ = true;
}

// What the next program must find open.
void Keeper::set_inherited(bool is_inherited, int state) const {
  const int flags = is_inherited ? 0 : FD_CLOEXEC;
  for (std::int64_t i = 0; fds_.name_at(i) != nullptr; ++i) {
    ::fcntl(fds_.get(fds_.name_at(i)), F_SETFD, flags);
  }
  for (std::int64_t i = 0; ledger_.at(i) != nullptr; ++i) {
    if (ledger_.go_at(i) >= 0) ::fcntl(ledger_.go_at(i), F_SETFD, flags);
  }
  for (const int fd : {directory_.lock, previous_supervisor_, state}) {
    if (fd >= 0) ::fcntl(fd, F_SETFD, flags);
  }
}

// Returns only when it failed; then everything goes on with the program that runs.
void Keeper::execute_anew() {
  upgrade_ = Upgrade::None;
  const int state = write_state();
  char number[16];
  std::snprintf(number, sizeof number, "%d", state);
  const char* arguments[kSupervisorArgumentsMax + 9] = {
      options_.program,           "--resume", number, "--name", options_.service, "--runtime-dir",
      options_.runtime_directory, "--"};
  int count = 8;
  for (char** word = options_.supervisor_argv; *word && count < kSupervisorArgumentsMax + 8;) {
    arguments[count++] = *word++;
  }
  if (state >= 0) {
    set_inherited(true, state);
    restore_terminal();
    ::unsetenv(kKeeperVersionVariable);
    ::unsetenv(kSupervisorVersionVariable);
    ::execv(options_.program, const_cast<char**>(arguments));
  }
  const int error = errno;
  std::fprintf(stderr, "pillion: cannot replace the keeper of \"%s\" by %s: %s\n", options_.service,
               options_.program, std::strerror(error));
  if (state >= 0) {
    set_inherited(false, state);
    ::close(state);
  }
  upgrade_verdict_ = Message{};
  upgrade_verdict_.type = MessageType::Upgrade;
  upgrade_verdict_.value = 1;
  upgrade_verdict_.error = error;
  has_upgrade_verdict_ = true;
}

}  // namespace pillion::keeper
