#include "supervisor/host/keeper_client.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime/log.h"
#include "supervisor/keeper/channel.h"

namespace pillion::supervisor::host {
namespace {

using keeper::Message;
using keeper::MessageType;

Message make_request(MessageType type, const std::string& name = {}, std::int64_t value = 0) {
  Message message;
  message.type = type;
  message.value = value;
  std::snprintf(message.name, sizeof message.name, "%s", name.c_str());
  return message;
}

ChildRecord to_record(const Message& message) {
  ChildRecord record;
  record.id = message.value;
  record.name = message.name;
  record.generation = static_cast<std::uint64_t>(message.generation);
  record.cgroup = message.cgroup;
  record.pid = static_cast<pid_t>(message.pid);
  record.start_time = message.start_time;
  record.state = message.state;
  record.wait_status = message.wait_status;
  return record;
}

constexpr std::size_t kPostedMax = 32;

}  // namespace

Result<std::unique_ptr<KeeperClient>> KeeperClient::from_environment() {
  const char* text = std::getenv(keeper::kSocketVariable);
  int number = -1;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), number);
  ::unsetenv(keeper::kSocketVariable);
  if (number < 0 || ::fcntl(number, F_SETFD, FD_CLOEXEC) < 0) {
    return fail("cannot reach the keeper: this command is started by pillion-keeper only");
  }
  return connect(Fd(number));
}

Result<std::unique_ptr<KeeperClient>> KeeperClient::connect(Fd socket) {
  std::unique_ptr<KeeperClient> client(new KeeperClient(std::move(socket)));
  Message request = make_request(MessageType::Hello);
  if (const char* version = std::getenv(keeper::kSupervisorVersionVariable)) {
    request.version = static_cast<std::uint16_t>(std::atoi(version));
  }
  auto hello = client->request(request);
  if (!hello) return fail(hello.error().wrap("cannot talk to the keeper"));
  client->keeper_pid_ = static_cast<pid_t>(hello->pid);
  client->restarts_ = hello->value;
  client->stored_ = {"control"};  // what the keeper itself has made
  client->version_ = std::min(request.version, hello->version);
  return client;
}

Result<void> KeeperClient::send(Message& message, int fd) {
  message.sequence = ++last_sequence_;
  for (;;) {
    const int error = keeper::send_message(socket_.get(), message, fd);
    if (error == 0) return {};
    if (error != EAGAIN) return fail(Error::from_errno("cannot send to the keeper", error));
    pollfd writable{socket_.get(), POLLOUT, 0};  // the loop's watch made it non-blocking
    ::poll(&writable, 1, -1);
  }
}

Result<Message> KeeperClient::receive(Fd* fd) {
  for (;;) {
    Message answer;
    int received = -1;
    const int error = keeper::receive_message(socket_.get(), &answer, &received);
    Fd owned(received);
    if (error == EAGAIN) {
      pollfd readable{socket_.get(), POLLIN, 0};
      ::poll(&readable, 1, -1);
      continue;
    }
    if (error != 0) return fail(Error::from_errno("cannot receive from the keeper", error));
    if (answer.sequence == 0) {
      unasked_.push_back(answer);
      schedule_delivery();
      continue;
    }
    *fd = std::move(owned);
    return answer;
  }
}

Result<Message> KeeperClient::request(Message message, int fd, Fd* reply_fd) {
  if (auto sent = send(message, fd); !sent) return fail(sent.error());
  for (;;) {
    Fd received;
    auto answer = receive(&received);
    if (!answer) return answer;
    if (answer->sequence != message.sequence) {
      settle(*answer);
      continue;
    }
    if (answer->error != 0) return fail(Error::from_errno("the keeper refused", answer->error));
    if (reply_fd != nullptr) *reply_fd = std::move(received);
    return answer;
  }
}

// Bounded, so that the keeper, which never waits for us, can send its answers.
Result<void> KeeperClient::post(Message message, int fd, std::string what) {
  while (posted_.size() >= kPostedMax) {
    Fd received;
    auto answer = receive(&received);
    if (!answer) return fail(answer.error());
    settle(*answer);
  }
  if (auto sent = send(message, fd); !sent) return sent;
  posted_.push_back({message.sequence, std::move(what)});
  return {};
}

void KeeperClient::settle(const Message& answer) {
  if (posted_.empty() || posted_.front().sequence != answer.sequence) return;
  if (answer.error != 0) {
    refusal_ = Error::from_errno(posted_.front().what, answer.error).message();
    if (!is_batch_) log::error("the keeper refused: {}", refusal_);
  }
  posted_.pop_front();
}

Result<void> KeeperClient::end_batch() {
  while (!posted_.empty()) {
    Fd received;
    auto answer = receive(&received);
    if (!answer) return fail(answer.error());
    settle(*answer);
  }
  is_batch_ = false;
  const std::string refusal = std::exchange(refusal_, {});
  return refusal.empty() ? Result<void>() : fail("the keeper refused: " + refusal);
}

Result<void> KeeperClient::put_fd(const std::string& name, int fd) {
  stored_.insert(name);
  const std::string what = "cannot store " + name;
  const Message message = make_request(MessageType::FdPut, name);
  if (is_batch_) return post(message, fd, what);
  auto answer = request(message, fd);
  if (!answer) return fail(answer.error().wrap(what));
  return {};
}

std::optional<Fd> KeeperClient::get_fd(const std::string& name) {
  if (restarts_ == 0 && !stored_.contains(name)) return std::nullopt;
  Fd fd;
  if (!request(make_request(MessageType::FdGet, name), -1, &fd) || !fd) return std::nullopt;
  return fd;
}

std::vector<std::string> KeeperClient::list_fds() {
  if (restarts_ == 0) return {stored_.begin(), stored_.end()};
  std::vector<std::string> names;
  for (std::int64_t index = 0;; ++index) {
    auto answer = request(make_request(MessageType::FdList, {}, index));
    if (!answer) return names;
    names.emplace_back(answer->name);
  }
}

void KeeperClient::remove_fd(const std::string& name) {
  stored_.erase(name);
  static_cast<void>(request(make_request(MessageType::FdRemove, name)));
}

Result<std::int64_t> KeeperClient::register_child(const std::string& name, std::uint64_t generation,
                                                  const std::string& cgroup, int go) {
  Message message = make_request(MessageType::ChildRegister, name);
  message.generation = static_cast<std::int64_t>(generation);
  std::snprintf(message.cgroup, sizeof message.cgroup, "%s", cgroup.c_str());
  auto answer = request(message, has_go_pipe() ? go : -1);
  if (!answer) return fail(answer.error().wrap("cannot register " + name));
  return answer->value;
}

Result<void> KeeperClient::report_spawned(std::int64_t id, pid_t pid, std::uint64_t start_time) {
  Message message = make_request(MessageType::ChildSpawned, {}, id);
  message.pid = pid;
  message.start_time = start_time;
  return post(message, -1, "cannot record a process");
}

std::vector<ChildRecord> KeeperClient::list_children() {
  std::vector<ChildRecord> records;
  for (std::int64_t index = 0;; ++index) {
    auto answer = request(make_request(MessageType::ChildList, {}, index));
    if (!answer) return records;
    records.push_back(to_record(*answer));
  }
}

void KeeperClient::acknowledge(std::int64_t id) {
  static_cast<void>(request(make_request(MessageType::ChildAcknowledge, {}, id)));
}

void KeeperClient::acknowledge_signal(std::uint64_t serial) {
  if (version_ < 2 || serial == 0) return;
  static_cast<void>(
      request(make_request(MessageType::SignalAcknowledge, {}, static_cast<std::int64_t>(serial))));
}

void KeeperClient::say_alive(std::chrono::seconds patience) {
  if (version_ < 2) return;
  static_cast<void>(request(make_request(MessageType::Alive, {}, patience.count())));
}

Result<void> KeeperClient::check_upgrade(std::function<void(Result<void>)> on_checked) {
  auto answer = request(make_request(MessageType::Upgrade, {}, 0));
  if (!answer) return fail(answer.error());
  on_checked_ = std::move(on_checked);
  return {};
}

Result<void> KeeperClient::upgrade(int own_executable) {
  auto answer = request(make_request(MessageType::Upgrade, {}, 1), own_executable);
  if (!answer) return fail(answer.error());
  return {};
}

Result<void> KeeperClient::finish(int exit_code) {
  auto answer = request(make_request(MessageType::Finish, {}, exit_code));
  if (!answer) return fail(answer.error());
  return {};
}

void KeeperClient::start(Loop& loop, std::function<void(const ChildRecord&)> on_exit,
                         std::function<void(int, std::uint64_t)> on_signal) {
  loop_ = &loop;
  on_exit_ = std::move(on_exit);
  on_signal_ = std::move(on_signal);
  delivery_.emplace(loop);
  poll_.emplace(loop, socket_.get());
  poll_->start(kReadable, [this](int, int) { on_readable(); });
  schedule_delivery();
}

void KeeperClient::schedule_delivery() {
  if (delivery_ && !unasked_.empty() && !delivery_->is_active()) {
    delivery_->start(Duration::zero(), [this] { deliver(); });
  }
}

void KeeperClient::on_readable() {
  Message message;
  int fd = -1;
  const int error = keeper::receive_message(socket_.get(), &message, &fd);
  const Fd owned(fd);
  if (error == ECONNRESET) {
    poll_->stop();  // the keeper is gone; the death signal is on its way
    return;
  }
  if (error == 0 && message.sequence == 0) unasked_.push_back(message);
  if (error == 0 && message.sequence != 0) settle(message);
  deliver();
}

void KeeperClient::deliver() {
  while (!unasked_.empty()) {
    const Message message = unasked_.front();
    unasked_.pop_front();
    deliver_one(message);
  }
}

void KeeperClient::deliver_one(const Message& message) {
  if (message.type == MessageType::ChildExited) on_exit_(to_record(message));
  if (message.type == MessageType::Signal) {
    on_signal_(static_cast<int>(message.value), static_cast<std::uint64_t>(message.generation));
  }
  if (message.type != MessageType::Upgrade) return;
  if (message.value == 1) {
    log::error("the upgrade failed, the keeper goes on as it was: {}",
               std::strerror(message.error));
    return;
  }
  const auto on_checked = std::move(on_checked_);
  on_checked_ = nullptr;
  if (!on_checked) return;
  on_checked(message.error == 0
                 ? Result<void>()
                 : fail("the installed pillion-keeper cannot continue from the running one"));
}

}  // namespace pillion::supervisor::host
