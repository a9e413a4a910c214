// What the supervisor asks of the keeper, and what the keeper tells it unasked.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

#include "supervisor/keeper/channel.h"
#include "supervisor/keeper/keeper.h"

namespace pillion::keeper {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kFinishNs = 5 * kSecond;

}  // namespace

void Keeper::answer(Message& message, int fd) {
  int reply_fd = -1;
  switch (message.type) {
    case MessageType::Hello:
      has_said_hello_ = true;
      peer_version_ = message.version;
      message.error = message.version >= kProtocolVersionOldest ? 0 : EPROTO;
      message.version = own_version_;
      message.value = restarts_;
      message.pid = ::getpid();
      break;
    case MessageType::FdPut:
    case MessageType::FdGet:
    case MessageType::FdList:
    case MessageType::FdRemove:
      message.error = answer_fds(message, fd, &reply_fd);
      if (message.type == MessageType::FdPut && message.error == 0) fd = -1;
      break;
    case MessageType::ChildRegister:
      message.value = ledger_.add(message, own_version_ >= 2 ? fd : -1);
      message.error = message.value == 0 ? ENOSPC : 0;
      if (message.error == 0 && own_version_ >= 2) fd = -1;
      break;
    case MessageType::Finish:
      is_finishing_ = true;
      exit_code_ = static_cast<int>(message.value);
      finish_deadline_ns_ = now_ns(CLOCK_MONOTONIC) + kFinishNs;
      message.error = 0;
      break;
    case MessageType::Upgrade:
      message.error = answer_upgrade(message, fd);
      if (message.value == 1 && message.error == 0) fd = -1;
      break;
    default: message.error = answer_children(message);
  }
  if (fd >= 0) ::close(fd);
  // A supervisor waits for each answer, so the socket cannot be full of them.
  send_message(socket_, message, reply_fd);
}

int Keeper::answer_fds(Message& message, int fd, int* reply_fd) {
  if (message.type == MessageType::FdPut) {
    return fd < 0 ? EBADF : fds_.put(message.name, fd);
  }
  if (message.type == MessageType::FdRemove) return fds_.remove(message.name);
  if (message.type == MessageType::FdGet) {
    *reply_fd = fds_.get(message.name);
    return *reply_fd < 0 ? ENOENT : 0;
  }
  const char* name = fds_.name_at(message.value);
  if (name == nullptr) return ENOENT;
  std::snprintf(message.name, sizeof message.name, "%s", name);
  return 0;
}

int Keeper::answer_children(Message& message) {
  switch (message.type) {
    case MessageType::ChildSpawned:
      return ledger_.bind(message.value, message.pid, message.start_time);
    case MessageType::ChildAcknowledge: return ledger_.remove(message.value);
    case MessageType::ChildList: {
      const Message* record = ledger_.at(message.value);
      if (record == nullptr) return ENOENT;
      const std::uint32_t sequence = message.sequence;
      message = *record;
      message.type = MessageType::ChildList;
      message.sequence = sequence;
      return 0;
    }
    case MessageType::SignalAcknowledge:
      if (own_version_ < 2) return ENOSYS;
      queue_.remove(static_cast<std::uint64_t>(message.value));
      return 0;
    case MessageType::Alive: {
      if (own_version_ < 2) return ENOSYS;
      // A watchdog of our own parent asks for a quicker reaction.
      std::uint64_t patience = static_cast<std::uint64_t>(message.value) * kSecond;
      const std::uint64_t period = watchdog_.period_ns();
      if (period != 0 && period < patience) patience = period;
      alive_until_ns_ = now_ns(CLOCK_MONOTONIC) + patience;
      return 0;
    }
    default: return ENOSYS;
  }
}

bool Keeper::has_unasked() const {
  return has_said_hello_ &&
         (queue_.has_unsent() || has_upgrade_verdict_ || ledger_.next_unreported() != nullptr);
}

bool Keeper::send_signals() {
  while (QueuedSignal* signal = queue_.next_unsent()) {
    Message message;
    message.type = MessageType::Signal;
    message.value = signal->number;
    message.generation = static_cast<std::int64_t>(signal->serial);
    if (send_message(socket_, message, -1) != 0) return false;
    signal->is_sent = 1;
    if (own_version_ < 2 || peer_version_ < 2) queue_.remove(signal->serial);
  }
  return true;
}

void Keeper::send_unasked() {
  if (socket_ < 0 || !has_said_hello_ || !send_signals()) return;
  if (has_upgrade_verdict_) {
    if (send_message(socket_, upgrade_verdict_, -1) != 0) return;
    has_upgrade_verdict_ = false;
  }
  while (const Message* record = ledger_.next_unreported()) {
    Message message = *record;
    message.type = MessageType::ChildExited;
    message.sequence = 0;
    if (send_message(socket_, message, -1) != 0) return;
    ledger_.mark_reported(record->value);
  }
}

}  // namespace pillion::keeper
