// The deny-list as a program. What it does to a process is
// tests/integration/supervisor_hardening's.
#include <catch2/catch.hpp>
#include <set>

#include "config/syscall_groups.h"
#include "supervisor/sandbox/seccomp_filter.h"

using namespace pillion;
using namespace pillion::supervisor::sandbox;

namespace {

std::size_t size_of(const config::Hardening& hardening,
                    const std::vector<std::string>& capabilities = {}) {
  auto program = compile_seccomp(hardening, capabilities);
  REQUIRE(program);
  return (*program)->code.size();
}

}  // namespace

TEST_CASE("the groups are those that a service's file may name") {
  std::set<std::string_view> in_config(std::begin(config::kSyscallGroups),
                                       std::end(config::kSyscallGroups));
  std::set<std::string_view> here;
  for (const SyscallGroup& group : syscall_groups()) {
    CHECK(!group.calls.empty());
    here.insert(group.name);
  }
  CHECK(in_config == here);
}

TEST_CASE("allowing shortens the program, denying lengthens it") {
  config::Hardening hardening;
  const std::size_t all = size_of(hardening);
  CHECK(all > 50);
  CHECK(all < 4096);  // the kernel's limit for one filter
  hardening.seccomp_allow = {"@obsolete", "ptrace"};
  const std::size_t fewer = size_of(hardening);
  CHECK(fewer < all);
  hardening.seccomp_deny = {"ptrace", "fork", "vfork", "chroot"};
  CHECK(size_of(hardening) > fewer);
}

TEST_CASE("a listed capability takes what it is for off the list") {
  const config::Hardening hardening;
  CHECK(size_of(hardening, {"CAP_SYS_ADMIN"}) < size_of(hardening));
  CHECK(size_of(hardening, {"CAP_NET_BIND_SERVICE"}) == size_of(hardening));
}

TEST_CASE("an unknown system call is named") {
  config::Hardening hardening;
  hardening.seccomp_allow = {"mont"};
  const auto program = compile_seccomp(hardening, {});
  REQUIRE(!program);
  CHECK(program.error().message() == "no system call is named \"mont\"");
}

TEST_CASE("the same list is compiled once") {
  config::Hardening hardening;
  const auto first = compile_seccomp(hardening, {});
  hardening.seccomp_allow = {"chroot"};  // not on the list anyway
  const auto second = compile_seccomp(hardening, {});
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->get() == second->get());
  hardening.seccomp_action = config::SeccompAction::Kill;
  const auto killing = compile_seccomp(hardening, {});
  REQUIRE(killing);
  CHECK(killing->get() != first->get());
}
