// Writing secret files, on real directories: shape, errors that say what to do, what stays.
#include "ambassadors/secrets/secret_files.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ambassadors/secrets/file_source.h"
#include "runtime/fd.h"

using namespace pillion;
using namespace pillion::secrets;

namespace {

struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "secrets.XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
    REQUIRE(::chmod(path.c_str(), 0711) == 0);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
  }
  std::string path;
};

std::string content_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct stat status_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status;
}

Result<FileStamp> write(const FileTarget& target, std::string_view content) {
  auto prepared = PreparedFile::prepare(target, content);
  if (!prepared) return fail(prepared.error());
  return prepared->commit();
}

// Runs `body` as uid and gid 65534 without any capability; its result is the exit status.
int as_nobody(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const bool is_nobody = ::setgid(65534) == 0 && ::setuid(65534) == 0;
    ::_exit(is_nobody ? body() : 99);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}

config::SecretFile file(const std::string& path, const std::string& field) {
  config::SecretFile wanted;
  wanted.path = path;
  wanted.secret = "secret/data/orders";
  wanted.field = field;
  return wanted;
}

SecretData data(std::map<std::string, std::string> fields, std::uint64_t version = 1) {
  SecretData made;
  for (const auto& [name, text] : fields) made.fields.emplace(name, SecretText(text));
  made.version = version;
  return made;
}

const SecretId kOrders{config::SecretSource::Vault, "secret/data/orders"};

struct Files {
  ManualClock clock;
  Registry registry;
  IssuedValues issued{clock, ""};
  SecretFiles files{clock, registry, issued};
};

}  // namespace

TEST_CASE("a secret file is written with its mode, and nothing else stays in the directory") {
  const TemporaryDirectory directory;
  REQUIRE(write({.path = directory / "password"}, "hunter2"));
  CHECK(content_of(directory / "password") == "hunter2");
  CHECK((status_of(directory / "password").st_mode & 07777) == 0400);
  CHECK(directory.entries() == 1);

  REQUIRE(write({.path = directory / "password", .mode = 0440}, std::string(100'000, 'x')));
  CHECK(content_of(directory / "password").size() == 100'000);
  CHECK((status_of(directory / "password").st_mode & 07777) == 0440);
  CHECK(directory.entries() == 1);
}

TEST_CASE("a prepared file that is not committed leaves nothing and changes nothing") {
  const TemporaryDirectory directory;
  REQUIRE(write({.path = directory / "p"}, "old"));
  {
    auto prepared = PreparedFile::prepare({.path = directory / "p"}, "new");
    REQUIRE(prepared);
    CHECK(directory.entries() == 2);
    CHECK(content_of(directory / "p") == "old");
  }
  CHECK(directory.entries() == 1);
}

TEST_CASE("what a crash left beside the file is removed, and only that") {
  const TemporaryDirectory directory;
  for (const char* name : {".p.pillion-0123456789abcdef", ".px.pillion-0", "p.pillion-1"}) {
    std::ofstream(directory / name) << "x";
  }
  remove_stale_temporaries(directory / "p");
  CHECK(directory.entries() == 2);
  CHECK_FALSE(std::filesystem::exists(directory / ".p.pillion-0123456789abcdef"));
}

TEST_CASE("a missing directory is named, with what to do") {
  const TemporaryDirectory directory;
  const auto written = write({.path = directory / "no/p"}, "x");
  REQUIRE_FALSE(written);
  CHECK(written.error().message() ==
        "cannot write " + (directory / "no/p") + ": directory " + (directory / "no") +
            " does not exist (declare it as a volume and list it in `mounts`)");
}

TEST_CASE("a directory in the file's place is an error and stays") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "p");
  CHECK(write({.path = directory / "p"}, "x").error().message() ==
        "cannot write " + (directory / "p") + ": it is a directory");
}

TEST_CASE("root may give a file to another user; it is theirs from its first moment") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const TemporaryDirectory directory;
  REQUIRE(write({.path = directory / "p", .uid = 65534, .gid = 65534}, "x"));
  CHECK(status_of(directory / "p").st_uid == 65534);
  CHECK(status_of(directory / "p").st_gid == 65534);
  CHECK(is_up_to_date({.path = directory / "p", .uid = 65534, .gid = 65534}, "x"));
  CHECK_FALSE(is_up_to_date({.path = directory / "p", .uid = 65534, .gid = 65534}, "y"));
  CHECK_FALSE(is_up_to_date({.path = directory / "p", .uid = 1}, "x"));
  CHECK_FALSE(is_up_to_date({.path = directory / "p", .mode = 0440}, "x"));
}

TEST_CASE("without CAP_CHOWN another owner is a clear error and the old file stays") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const TemporaryDirectory directory;
  REQUIRE(::chown(directory.path.c_str(), 65534, 65534) == 0);
  const int status = as_nobody([&] {
    if (!write({.path = directory / "p"}, "mine")) return 1;
    const auto refused = write({.path = directory / "p", .uid = 1000}, "theirs");
    if (refused) return 2;
    const bool is_clear = refused.error().message() ==
                          "cannot give " + (directory / "p") +
                              " to uid 1000: uid 65534 lacks CAP_CHOWN (the supervisor grants it; "
                              "else set `owner` to this user)";
    return is_clear ? 0 : 3;
  });
  CHECK(status == 0);
  CHECK(content_of(directory / "p") == "mine");
  CHECK(directory.entries() == 1);
}

TEST_CASE("a directory of somebody else is a clear error") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const TemporaryDirectory directory;
  const int status = as_nobody([&] {
    const auto refused = write({.path = directory / "p"}, "x");
    if (refused) return 2;
    return refused.error().message() == "cannot write " + (directory / "p") + ": directory " +
                                            directory.path + " is not writable by uid 65534"
               ? 0
               : 3;
  });
  CHECK(status == 0);
}

TEST_CASE("a full tmpfs and a read-only mount are clear errors and the old file stays") {
  const TemporaryDirectory directory;
  if (::mount("tmpfs", directory.path.c_str(), "tmpfs", 0, "size=16k,mode=711") != 0) {
    WARN("skipped: needs the right to mount");
    return;
  }
  REQUIRE(write({.path = directory / "p"}, "old"));
  const auto full = write({.path = directory / "p"}, std::string(64'000, 'x'));
  const std::size_t entries = directory.entries();
  const std::string kept = content_of(directory / "p");
  ::mount("tmpfs", directory.path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=16k");
  const auto read_only = write({.path = directory / "p"}, "new");
  ::umount2(directory.path.c_str(), MNT_DETACH);
  REQUIRE_FALSE(full);
  CHECK(full.error().errno_value() == ENOSPC);
  CHECK(full.error().message() == "cannot write " + (directory / "p") +
                                      ": No space left on device (the volume is full: raise its "
                                      "`tmpfs` size)");
  CHECK(entries == 1);
  CHECK(kept == "old");
  REQUIRE_FALSE(read_only);
  CHECK(read_only.error().message() ==
        "cannot write " + (directory / "p") + ": " + directory.path +
            " is mounted read-only (mount the volume without `:ro`)");
}

TEST_CASE("files are written when bytes differ, and only then") {
  const TemporaryDirectory directory;
  Files f;
  f.files.apply({file(directory / "a", "a"), file(directory / "b", "b")});
  CHECK(f.files.wanted() == std::vector<SecretId>{kOrders});
  CHECK_FALSE(f.files.is_complete());
  CHECK(f.files.waiting_for() == "secret/data/orders for " + (directory / "a") + " (and 1 more)");

  CHECK(f.files.update(kOrders, data({{"a", "1"}, {"b", "2"}})));
  CHECK(f.files.is_complete());
  CHECK(f.files.waiting_for().empty());
  CHECK(f.files.files_written() == 2);
  const auto inode = status_of(directory / "a").st_ino;

  CHECK(f.files.update(kOrders, data({{"a", "1"}, {"b", "3"}}, 2)));
  CHECK(f.files.files_written() == 3);
  CHECK(status_of(directory / "a").st_ino == inode);
  CHECK(content_of(directory / "b") == "3");
}

TEST_CASE("a file of an earlier run is adopted when it is right, else replaced") {
  const TemporaryDirectory directory;
  REQUIRE(write({.path = directory / "a"}, "1"));
  REQUIRE(write({.path = directory / "b", .mode = 0444}, "2"));
  Files f;
  f.files.apply({file(directory / "a", "a"), file(directory / "b", "b")});
  CHECK(f.files.update(kOrders, data({{"a", "1"}, {"b", "2"}})));
  CHECK(f.files.is_complete());
  CHECK(f.files.files_written() == 1);
  CHECK((status_of(directory / "b").st_mode & 07777) == 0400);
}

TEST_CASE("a file that somebody removed or changed is put right at the next update") {
  const TemporaryDirectory directory;
  Files f;
  f.files.apply({file(directory / "a", "a")});
  CHECK(f.files.update(kOrders, data({{"a", "1"}})));
  std::filesystem::remove(directory / "a");
  CHECK(f.files.update(kOrders, data({{"a", "1"}})));
  CHECK(content_of(directory / "a") == "1");
  REQUIRE(::chmod((directory / "a").c_str(), 0444) == 0);
  CHECK(f.files.update(kOrders, data({{"a", "1"}})));
  CHECK((status_of(directory / "a").st_mode & 07777) == 0400);
}

TEST_CASE("a missing field is an error that lists the fields; every file of the secret stays") {
  const TemporaryDirectory directory;
  Files f;
  f.files.apply({file(directory / "a", "a"), file(directory / "b", "b")});
  CHECK(f.files.update(kOrders, data({{"a", "1"}, {"b", "2"}})));
  CHECK_FALSE(f.files.update(kOrders, data({{"a", "new"}, {"c", "3"}}, 2)));
  CHECK(content_of(directory / "a") == "1");
  CHECK(content_of(directory / "b") == "2");
  CHECK(f.files.is_complete());  // once written, always ready
  const std::string json = f.files.to_json();
  CHECK(json.find("secret/data/orders has no field `b` (it has: a, c)") != std::string::npos);
  CHECK(json.find("\"state\":\"stale\"") != std::string::npos);
  CHECK(json.find("another file of secret/data/orders cannot be written") != std::string::npos);

  CHECK(f.files.update(kOrders, data({{"a", "new"}, {"b", "2"}}, 3)));
  CHECK(content_of(directory / "a") == "new");
  CHECK(f.files.to_json().find("stale") == std::string::npos);
}

TEST_CASE("when one file of a secret cannot be written, the others stay too") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "sub");
  Files f;
  f.files.apply({file(directory / "cert", "cert"), file(directory / "sub/key", "key")});
  CHECK(f.files.update(kOrders, data({{"cert", "c1"}, {"key", "k1"}})));
  std::filesystem::remove_all(directory / "sub");
  CHECK_FALSE(f.files.update(kOrders, data({{"cert", "c2"}, {"key", "k2"}}, 2)));
  CHECK(content_of(directory / "cert") == "c1");
  CHECK(directory.entries() == 1);
}

TEST_CASE("staleness is counted from the first failure after the last success") {
  const TemporaryDirectory directory;
  Files f;
  f.files.apply({file(directory / "a", "a")});
  CHECK_FALSE(f.files.is_tried());
  f.files.report_failure(kOrders, Error("Vault is sealed"));
  CHECK(f.files.is_tried());
  CHECK(f.files.waiting_for() ==
        "secret/data/orders for " + (directory / "a") + ": Vault is sealed");
  CHECK(f.files.update(kOrders, data({{"a", "1"}}, 7)));
  f.clock.advance(std::chrono::seconds(30));
  f.files.report_failure(kOrders, Error("down"));
  f.clock.advance(std::chrono::seconds(12));
  f.files.report_failure(kOrders, Error("down"));
  const std::string metrics = f.registry.render();
  const std::string label = "{path=\"" + (directory / "a") + "\"} ";
  CHECK(metrics.find("pillion_secrets_file_stale_seconds" + label + "12\n") != std::string::npos);
  CHECK(metrics.find("pillion_secrets_file_age_seconds" + label + "42\n") != std::string::npos);
  CHECK(metrics.find("pillion_secrets_file_version" + label + "7\n") != std::string::npos);
  CHECK(f.files.to_json().find("\"stale_seconds\":12") != std::string::npos);
}

TEST_CASE("a reload keeps the state of unchanged files and leaves removed files on disk") {
  const TemporaryDirectory directory;
  Files f;
  f.files.apply({file(directory / "a", "a"), file(directory / "b", "b")});
  CHECK(f.files.update(kOrders, data({{"a", "1"}, {"b", "2"}})));
  f.files.apply({file(directory / "a", "a"), file(directory / "c", "b")});
  CHECK_FALSE(f.files.is_complete());
  CHECK(f.files.waiting_for() == "secret/data/orders for " + (directory / "c"));
  CHECK(std::filesystem::exists(directory / "b"));
}

TEST_CASE("the error of an unreadable local file says who must be able to read it") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const TemporaryDirectory directory;
  REQUIRE(write({.path = directory / "source", .mode = 0600}, "x"));
  const int status = as_nobody([&] {
    const auto data = read_secret_file(directory / "source", false);
    return !data && data.error().message() == "cannot open " + (directory / "source") +
                                                  ": Permission denied (it must be readable by uid "
                                                  "65534)"
               ? 0
               : 1;
  });
  CHECK(status == 0);
}
