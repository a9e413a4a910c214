#include "supervisor/keeper/ledger.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

namespace pillion::keeper {

std::int64_t Ledger::add(const Message& request, int go) {
  for (Record& record : records_) {
    if (record.is_used) continue;
    record.is_used = true;
    record.is_reported = false;
    record.go = go;
    record.message = request;
    record.message.value = ++last_id_;
    record.message.pid = 0;
    record.message.state = ChildState::Pending;
    return last_id_;
  }
  return 0;
}

Ledger::Record* Ledger::find(std::int64_t id) {
  for (Record& record : records_) {
    if (record.is_used && record.message.value == id) return &record;
  }
  return nullptr;
}

int Ledger::bind(std::int64_t id, std::int64_t pid, std::uint64_t start_time) {
  Record* record = find(id);
  if (record == nullptr) return ENOENT;
  if (record->message.state != ChildState::Pending) return EEXIST;
  record->message.pid = pid;
  record->message.start_time = start_time;
  record->message.state = ChildState::Running;
  if (record->go >= 0) {
    const char byte = 1;
    static_cast<void>(!::write(record->go, &byte, 1));  // it may have been killed meanwhile
    ::close(record->go);
    record->go = -1;
  }
  for (Stray& stray : strays_) {
    if (stray.pid != pid) continue;
    stray.pid = 0;
    record->message.state = ChildState::Exited;
    record->message.wait_status = stray.wait_status;
    record->message.exit_time_ns = stray.exit_time_ns;
    break;
  }
  return 0;
}

void Ledger::on_exit(pid_t pid, int wait_status, std::uint64_t exit_time_ns) {
  for (Record& record : records_) {
    Message& message = record.message;
    if (!record.is_used || message.state != ChildState::Running || message.pid != pid) continue;
    message.state = ChildState::Exited;
    message.wait_status = wait_status;
    message.exit_time_ns = exit_time_ns;
    return;
  }
  if (!has_pending()) return;  // an orphan that a child left behind
  strays_[next_stray_] = Stray{pid, wait_status, exit_time_ns};
  next_stray_ = (next_stray_ + 1) % kStraysMax;
}

const Ledger::Record* Ledger::used_at(std::int64_t index) const {
  for (const Record& record : records_) {
    if (record.is_used && index-- == 0) return &record;
  }
  return nullptr;
}

const Message* Ledger::at(std::int64_t index) const {
  const Record* record = used_at(index);
  return record == nullptr ? nullptr : &record->message;
}

int Ledger::go_at(std::int64_t index) const {
  const Record* record = used_at(index);
  return record == nullptr ? -1 : record->go;
}

bool Ledger::restore(const Message& record, int go) {
  for (Record& free : records_) {
    if (free.is_used) continue;
    free = Record{true, false, go, record};
    return true;
  }
  return false;
}

int Ledger::remove(std::int64_t id) {
  Record* record = find(id);
  if (record == nullptr) return ENOENT;
  record->is_used = false;
  if (record->go >= 0) ::close(record->go);
  record->go = -1;
  if (!has_pending()) {
    for (Stray& stray : strays_) stray.pid = 0;
  }
  return 0;
}

const Message* Ledger::next_unreported() const {
  for (const Record& record : records_) {
    if (record.is_used && !record.is_reported && record.message.state == ChildState::Exited) {
      return &record.message;
    }
  }
  return nullptr;
}

void Ledger::mark_reported(std::int64_t id) {
  if (Record* record = find(id)) record->is_reported = true;
}

void Ledger::mark_all_unreported() {
  for (Record& record : records_) {
    if (record.is_used) record.is_reported = false;
  }
}

void Ledger::kill_all() const {
  for (const Record& record : records_) {
    if (record.is_used && record.message.state == ChildState::Running) {
      // The keeper is the parent and has not reaped it: the number cannot be someone else's.
      ::kill(static_cast<pid_t>(record.message.pid), SIGKILL);
    }
  }
}

bool Ledger::has_running() const {
  for (const Record& record : records_) {
    if (record.is_used && record.message.state == ChildState::Running) return true;
  }
  return false;
}

bool Ledger::has_pending() const {
  for (const Record& record : records_) {
    if (record.is_used && record.message.state == ChildState::Pending) return true;
  }
  return false;
}

}  // namespace pillion::keeper
