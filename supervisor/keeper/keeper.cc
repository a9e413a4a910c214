#include "supervisor/keeper/keeper.h"

#include <fcntl.h>
#include <link.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

namespace pillion::keeper {
namespace {

constexpr int kExitSetup = 71;
constexpr int kExitGaveUp = 70;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kTearDownNs = 5 * kSecond;

// TERM, INT and HUP are for the supervisor; the others are what an app may want to hear. Not
// blocked: what the kernel sends for a fault of our own, and Ctrl-Z, which must stop us.
void watched_signals(sigset_t* set) {
  ::sigemptyset(set);
  for (const int signo :
       {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT}) {
    ::sigaddset(set, signo);
  }
  for (int signo = SIGRTMIN; signo <= SIGRTMAX; ++signo) ::sigaddset(set, signo);
}

void earliest(std::uint64_t at, std::uint64_t* result) {
  if (at != 0 && (*result == 0 || at < *result)) *result = at;
}

}  // namespace

std::uint64_t now_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kSecond +
         static_cast<std::uint64_t>(time.tv_nsec);
}

int Keeper::run(const Options& options) {
  options_ = options;
  const bool is_set_up = options_.resumed_state >= 0 ? resume() : set_up();
  if (!is_set_up) {
    end_first_supervisor();
    return kExitSetup;
  }
  if (!start_supervisor()) {
    if (options_.resumed_state < 0) {
      remove_runtime_directory(directory_);
      return kExitSetup;
    }
    respawn_at_ns_ = now_ns(CLOCK_MONOTONIC) + kSecond;
  }
  const int code = loop();
  tear_down();
  return code;
}

bool Keeper::set_up() {
  // Nothing inherited reaches a child by accident.
  ::syscall(SYS_close_range, 3u, ~0u, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
  take_version();
  if (!open_runtime_directory(options_.runtime_directory, options_.service, &directory_)) {
    return false;
  }
  fds_.put("control", directory_.control);
  return open_signals();
}

void Keeper::take_version() {
  if (const char* version = std::getenv(kKeeperVersionVariable)) {
    own_version_ = static_cast<std::uint16_t>(std::atoi(version));
  }
}

bool Keeper::open_signals() {
  has_terminal_ = ::tcgetattr(STDIN_FILENO, &terminal_) == 0;
  if (::getpid() != 1) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  ::signal(SIGCHLD, SIG_DFL);  // an inherited SIG_IGN would throw exit statuses away
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGTTOU, SIG_IGN);  // in the background, too, nothing we say or restore may stop us
  sigset_t set;
  watched_signals(&set);
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  char number[8];
  std::snprintf(number, sizeof number, "%d", kSupervisorFd);
  if (signals_ < 0 || ::setenv(kSocketVariable, number, 1) < 0) {
    std::fprintf(stderr, "pillion: cannot set up signals: %s\n", std::strerror(errno));
    return false;
  }
  watchdog_.set_up();
  return true;
}

// Code and constants that are not used from now on leave the address space; the page cache has
// them. What may be written holds relocated pointers and stays.
int Keeper::return_start_memory() {
  const auto drop = [](dl_phdr_info* object, std::size_t, void*) {
    constexpr std::uintptr_t kPage = 4096;
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
      const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr + kPage - 1) & ~(kPage - 1);
      const std::uintptr_t end =
          (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(kPage - 1);
      if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
    return 0;
  };
  return ::dl_iterate_phdr(drop, nullptr);
}

int Keeper::loop() {
  for (;;) {
    pollfd watched[2] = {{signals_, POLLIN, 0}, {socket_, POLLIN, 0}};
    if (has_unasked()) watched[1].events |= POLLOUT;
    const int ready = ::poll(watched, 2, poll_timeout_ms());
    if (ready < 0 && errno != EINTR) return kExitGaveUp;
    if (ready > 0 && watched[1].revents != 0) on_supervisor_readable();
    if (ready > 0 && watched[0].revents != 0) on_signals();
    send_unasked();
    if (is_finishing_ && supervisor_ == 0) return exit_code_;
    on_time(now_ns(CLOCK_MONOTONIC));
  }
}

void Keeper::on_time(std::uint64_t now) {
  if (is_start_memory_held_ && now - supervisor_started_ns_ > kSecond) {
    is_start_memory_held_ = false;
    return_start_memory();
  }
  if (watchdog_.next_at_ns() != 0 && now >= watchdog_.next_at_ns()) watchdog_.pet(now);
  if (checker_ != 0 && now >= check_deadline_ns_) {
    ::kill(checker_, SIGKILL);
    check_deadline_ns_ = now + kSecond;
  }
  if (supervisor_ != 0) {
    const bool is_overdue = must_end() && now >= finish_deadline_ns_;
    const bool is_hung = !is_finishing_ && alive_until_ns_ != 0 && now >= alive_until_ns_;
    if (is_hung) {
      std::fprintf(stderr, "pillion: the supervisor of \"%s\" hangs; starting it again\n",
                   options_.service);
    }
    if (is_overdue || is_hung) {
      ::kill(supervisor_, SIGKILL);
      finish_deadline_ns_ = alive_until_ns_ = now + kSecond;
    }
    return;
  }
  if (is_finishing_) return;
  if (upgrade_ == Upgrade::WaitingForSupervisor) execute_anew();
  if (now >= respawn_at_ns_ && !spawn_supervisor()) respawn_at_ns_ = now + kSecond;
}

int Keeper::poll_timeout_ms() const {
  std::uint64_t at = 0;
  earliest(watchdog_.next_at_ns(), &at);
  if (is_start_memory_held_) earliest(supervisor_started_ns_ + kSecond + 1, &at);
  if (checker_ != 0) earliest(check_deadline_ns_, &at);
  if (supervisor_ == 0) {
    earliest(respawn_at_ns_ != 0 ? respawn_at_ns_ : 1, &at);
  } else {
    if (must_end()) earliest(finish_deadline_ns_, &at);
    if (!is_finishing_) earliest(alive_until_ns_, &at);
  }
  if (at == 0) return -1;
  const std::uint64_t now = now_ns(CLOCK_MONOTONIC);
  return at <= now ? 0 : static_cast<int>((at - now) / 1'000'000 + 1);
}

void Keeper::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) queue_.add(static_cast<int>(info.ssi_signo));
  }
  reap();
}

void Keeper::reap() {
  int wait_status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &wait_status, WNOHANG)) > 0;) {
    if (pid == supervisor_) {
      on_supervisor_exit(wait_status);
    } else if (pid == checker_) {
      on_checked(wait_status);
    } else {
      ledger_.on_exit(pid, wait_status, now_ns(CLOCK_BOOTTIME));
    }
  }
}

void Keeper::restore_terminal() const {
  if (has_terminal_) ::tcsetattr(STDIN_FILENO, TCSANOW, &terminal_);
}

// The service is over: whatever the supervisor left (it crashed too often) ends with it.
void Keeper::tear_down() {
  watchdog_.close();
  restore_terminal();
  ledger_.kill_all();
  const std::uint64_t deadline = now_ns(CLOCK_MONOTONIC) + kTearDownNs;
  while (ledger_.has_running() && now_ns(CLOCK_MONOTONIC) < deadline) {
    pollfd watched{signals_, POLLIN, 0};
    ::poll(&watched, 1, 100);
    on_signals();
  }
  remove_runtime_directory(directory_);
}

}  // namespace pillion::keeper
