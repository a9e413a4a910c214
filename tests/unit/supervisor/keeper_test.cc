// The parts of the keeper: channel, fd store, ledger.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <memory>

#include "supervisor/keeper/channel.h"
#include "supervisor/keeper/fd_store.h"
#include "supervisor/keeper/ledger.h"

using namespace pillion::keeper;

namespace {

Message child(const char* name) {
  Message message;
  std::strcpy(message.name, name);
  message.generation = 3;
  return message;
}

}  // namespace

TEST_CASE("the ledger keeps an exit until it is acknowledged") {
  auto ledger = std::make_unique<Ledger>();
  const auto id = ledger->add(child("app"));
  REQUIRE(id == 1);
  CHECK(ledger->bind(id, 4711, 99) == 0);
  CHECK(ledger->has_running());
  CHECK(ledger->next_unreported() == nullptr);
  ledger->on_exit(4711, 0x300, 5);
  CHECK_FALSE(ledger->has_running());
  REQUIRE(ledger->next_unreported() != nullptr);
  CHECK(WEXITSTATUS(ledger->next_unreported()->wait_status) == 3);
  ledger->mark_reported(id);
  CHECK(ledger->next_unreported() == nullptr);
  ledger->mark_all_unreported();
  CHECK(ledger->next_unreported()->value == id);
  CHECK(ledger->remove(id) == 0);
  CHECK(ledger->at(0) == nullptr);
  CHECK(ledger->remove(id) == ENOENT);
}

TEST_CASE("an exit that comes before the pid is known is not lost") {
  auto ledger = std::make_unique<Ledger>();
  const auto id = ledger->add(child("app"));
  ledger->on_exit(100, 9, 1);
  ledger->on_exit(101, 0, 1);
  CHECK(ledger->bind(id, 100, 7) == 0);
  CHECK(ledger->at(0)->state == ChildState::Exited);
  CHECK(WTERMSIG(ledger->at(0)->wait_status) == 9);
}

TEST_CASE("an orphan's exit is forgotten when no spawn is pending") {
  auto ledger = std::make_unique<Ledger>();
  ledger->on_exit(100, 9, 1);
  const auto id = ledger->add(child("app"));
  CHECK(ledger->bind(id, 100, 7) == 0);
  CHECK(ledger->at(0)->state == ChildState::Running);
}

TEST_CASE("the ledger refuses records beyond its bound") {
  auto ledger = std::make_unique<Ledger>();
  for (int i = 0; i < kChildrenMax; ++i) REQUIRE(ledger->add(child("x")) != 0);
  CHECK(ledger->add(child("x")) == 0);
}

TEST_CASE("the fd store replaces, lists and removes by name") {
  auto store = std::make_unique<FdStore>();
  const int first = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int second = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  CHECK(store->put("a", first) == 0);
  CHECK(store->put("a", second) == 0);
  CHECK(::fcntl(first, F_GETFD) == -1);
  CHECK(store->get("a") == second);
  CHECK(std::strcmp(store->name_at(0), "a") == 0);
  CHECK(store->name_at(1) == nullptr);
  CHECK(store->remove("a") == 0);
  CHECK(store->get("a") == -1);
  CHECK(store->remove("a") == ENOENT);
  CHECK(store->put("", 0) == EINVAL);
}

TEST_CASE("a message travels with its descriptor") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
  const int sent = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Message message = child("pipe");
  message.type = MessageType::FdPut;
  REQUIRE(send_message(pair[0], message, sent) == 0);
  Message received;
  int fd = -1;
  REQUIRE(receive_message(pair[1], &received, &fd) == 0);
  CHECK(std::strcmp(received.name, "pipe") == 0);
  CHECK(fd >= 0);
  CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(receive_message(pair[1], &received, &fd) == EAGAIN);
  REQUIRE(::send(pair[0], "rubbish", 7, 0) == 7);
  CHECK(receive_message(pair[1], &received, &fd) == EBADMSG);
  ::close(pair[0]);
  CHECK(receive_message(pair[1], &received, &fd) == ECONNRESET);
  ::close(pair[1]);
  ::close(sent);
}
