// What `pillion run` says where user namespaces are forbidden; entering one is an integration test.
#include "supervisor/host/user_namespace.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

using namespace pillion::supervisor::host;

namespace {

// A /proc/sys with one setting.
class Settings {
 public:
  Settings(const std::string& file, const std::string& value) {
    char path[] = "/tmp/pillion-settings-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    directory_ = path;
    std::filesystem::create_directories((directory_ / file).parent_path());
    std::ofstream(directory_ / file) << value << "\n";
  }
  ~Settings() { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_.string(); }

 private:
  std::filesystem::path directory_;
};

}  // namespace

TEST_CASE("the setting that forbids user namespaces is named with its remedy", "[rootless]") {
  const Settings debian("kernel/unprivileged_userns_clone", "0");
  CHECK(explain_no_user_namespace(EPERM, debian.path()) ==
        "kernel.unprivileged_userns_clone = 0 forbids it; as root: sysctl -w "
        "kernel.unprivileged_userns_clone=1");
  const Settings ubuntu("kernel/apparmor_restrict_unprivileged_userns", "1");
  CHECK(explain_no_user_namespace(EPERM, ubuntu.path()) ==
        "kernel.apparmor_restrict_unprivileged_userns = 1 forbids it; as root: sysctl -w "
        "kernel.apparmor_restrict_unprivileged_userns=0");
  const Settings limit("user/max_user_namespaces", "0");
  CHECK(explain_no_user_namespace(ENOSPC, limit.path()) ==
        "user.max_user_namespaces = 0 forbids it; as root: sysctl -w "
        "user.max_user_namespaces=10000");
}

TEST_CASE("a setting that allows them is not blamed", "[rootless]") {
  const Settings allowed("kernel/unprivileged_userns_clone", "1");
  CHECK(explain_no_user_namespace(EPERM, allowed.path()).find("seccomp") != std::string::npos);
  CHECK(explain_no_user_namespace(ENOSYS, allowed.path()).find("CONFIG_USER_NS") !=
        std::string::npos);
  CHECK(explain_no_user_namespace(ENOSPC, allowed.path()).find("too many") != std::string::npos);
}
