#include "ambassadors/secrets/file_write.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>

namespace pillion::secrets {
namespace {

constexpr std::string_view kTemporaryInfix = ".pillion-";

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// ".db-password.pillion-" + 12 hex digits
std::string temporary_prefix(const std::string& name) {
  return "." + name + std::string(kTemporaryInfix);
}

std::string random_suffix() {
  std::random_device device;
  char text[17];
  std::snprintf(text, sizeof text, "%08x%08x", device(), device());
  return text;
}

Error with_hint(const std::string& path, int error) {
  const std::string uid = std::to_string(::geteuid());
  const std::string directory = directory_of(path);
  Error plain = Error::from_errno("cannot write " + path, error);
  switch (error) {
    case ENOENT:
      return Error("cannot write " + path + ": directory " + directory +
                       " does not exist (declare it as a volume and list it in `mounts`)",
                   error);
    case ENOTDIR:
      return Error("cannot write " + path + ": " + directory + " is not a directory", error);
    case EACCES:
    case EPERM:
      return Error(
          "cannot write " + path + ": directory " + directory + " is not writable by uid " + uid,
          error);
    case EROFS:
      return Error("cannot write " + path + ": " + directory +
                       " is mounted read-only (mount the volume without `:ro`)",
                   error);
    case ENOSPC:
    case EDQUOT:
      return Error(plain.message() + " (the volume is full: raise its `tmpfs` size)", error);
    default: return plain;
  }
}

Error owner_error(const FileTarget& target, int error) {
  std::string who;
  if (target.uid) who += "uid " + std::to_string(*target.uid);
  if (target.gid) who += (who.empty() ? "gid " : ", gid ") + std::to_string(*target.gid);
  std::string message = "cannot give " + target.path + " to " + who;
  if (error == EPERM) {
    return Error(message + ": uid " + std::to_string(::geteuid()) +
                     " lacks CAP_CHOWN (the supervisor grants it; else set `owner` to this user)",
                 error);
  }
  return Error::from_errno(message, error);
}

Result<void> fill(int fd, const FileTarget& target, std::string_view content) {
  if (auto written = write_all(fd, content); !written) {
    return fail(with_hint(target.path, written.error().errno_value()));
  }
  // The mode before the owner: after a chown the file is not ours any more, and changing its mode
  // would need CAP_FOWNER too. The name is still the hidden one.
  if (::fchmod(fd, target.mode) < 0) return fail_errno("cannot set the mode of " + target.path);
  struct stat status {};
  if (::fstat(fd, &status) < 0) return fail_errno("cannot look at " + target.path);
  const bool is_owner_right = (!target.uid || *target.uid == status.st_uid) &&
                              (!target.gid || *target.gid == status.st_gid);
  if (!is_owner_right && ::fchown(fd, target.uid.value_or(static_cast<uid_t>(-1)),
                                  target.gid.value_or(static_cast<gid_t>(-1))) < 0) {
    return fail(owner_error(target, errno));
  }
  if (::fsync(fd) < 0) return fail(with_hint(target.path, errno));
  return {};
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

FileStamp to_stamp(const struct stat& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .changed_ns = nanoseconds(status.st_ctim),
          .modified_ns = nanoseconds(status.st_mtim)};
}

}  // namespace

std::optional<FileStamp> stamp_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) < 0) return std::nullopt;
  return to_stamp(status);
}

PreparedFile::PreparedFile(PreparedFile&& other) noexcept
    : directory_(std::move(other.directory_)),
      directory_path_(std::move(other.directory_path_)),
      path_(std::move(other.path_)),
      name_(std::move(other.name_)),
      temporary_(std::move(other.temporary_)) {
  other.temporary_.clear();
}

PreparedFile::~PreparedFile() {
  if (!temporary_.empty()) ::unlinkat(directory_.get(), temporary_.c_str(), 0);
}

Result<PreparedFile> PreparedFile::prepare(const FileTarget& target, std::string_view content) {
  PreparedFile file;
  file.path_ = target.path;
  file.name_ = name_of(target.path);
  file.directory_path_ = directory_of(target.path);
  file.directory_ = Fd(::open(file.directory_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file.directory_) return fail(with_hint(target.path, errno));

  struct stat existing {};
  if (::fstatat(file.directory_.get(), file.name_.c_str(), &existing, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(existing.st_mode)) {
    return fail("cannot write " + target.path + ": it is a directory");
  }
  const std::string temporary = temporary_prefix(file.name_) + random_suffix();
  const Fd fd(::openat(file.directory_.get(), temporary.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail(with_hint(target.path, errno));
  file.temporary_ = temporary;
  if (auto filled = fill(fd.get(), target, content); !filled) return fail(filled.error());
  return file;
}

Result<FileStamp> PreparedFile::commit() {
  const int directory = directory_.get();
  if (::renameat(directory, temporary_.c_str(), directory, name_.c_str()) < 0) {
    return fail(with_hint(path_, errno));
  }
  temporary_.clear();
  // Some filesystems cannot sync a directory; tmpfs can, and has nothing to lose.
  if (::fsync(directory) < 0 && errno != EINVAL)
    return fail_errno("cannot sync " + directory_path_);
  struct stat status {};
  if (::fstatat(directory, name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) {
    return fail_errno("cannot look at " + path_);
  }
  return to_stamp(status);
}

bool is_up_to_date(const FileTarget& target, std::string_view content) {
  const Fd fd(::open(target.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) < 0) return false;
  const bool is_same_shape = S_ISREG(status.st_mode) && (status.st_mode & 07777) == target.mode &&
                             (!target.uid || *target.uid == status.st_uid) &&
                             (!target.gid || *target.gid == status.st_gid) &&
                             static_cast<std::size_t>(status.st_size) == content.size();
  if (!is_same_shape) return false;
  char buffer[4096];
  while (!content.empty()) {
    const ssize_t count = ::read(fd.get(), buffer, std::min(sizeof buffer, content.size()));
    if (count <= 0) return false;
    const auto size = static_cast<std::size_t>(count);
    if (content.substr(0, size) != std::string_view(buffer, size)) return false;
    content.remove_prefix(size);
  }
  return true;
}

void remove_stale_temporaries(const std::string& path) {
  const std::string prefix = temporary_prefix(name_of(path));
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(directory_of(path).c_str()),
                                                      &::closedir);
  if (!directory) return;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name(entry->d_name);
    if (name.starts_with(prefix)) ::unlinkat(::dirfd(directory.get()), entry->d_name, 0);
  }
}

}  // namespace pillion::secrets
