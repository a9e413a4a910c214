#include "supervisor/host/volumes.h"
#include "runtime/file_replacement.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

constexpr char kMadeMark[] = "trusted.pillion";
constexpr gid_t kGroupBase = 1'400'000'000;
constexpr gid_t kGroupCount = 100'000'000;
constexpr unsigned kTmpfsMode = 0711;
constexpr unsigned kDirectoryMode = 02770;

unsigned mode_of(const config::Volume& volume) {
  if (volume.mode.value != 0) return volume.mode.value;
  return volume.tmpfs ? kTmpfsMode : kDirectoryMode;
}

}  // namespace

gid_t service_group(const std::string& service) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : service) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return kGroupBase + hash % kGroupCount;
}

Result<void> make_directories(const std::string& path, unsigned mode,
                              std::vector<std::string>* made) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    const bool is_last = end == std::string::npos;
    if (::mkdir(part.c_str(), is_last ? mode : 0755) == 0) {
      if (made != nullptr) made->push_back(part);
    } else if (errno != EEXIST && errno != EISDIR) {
      return fail_errno("cannot create " + part);
    }
    if (is_last) return {};
  }
}

Volumes::Volumes(const config::Service& service, ServicePaths paths, bool is_privileged)
    : service_(service),
      paths_(std::move(paths)),
      is_privileged_(is_privileged),
      group_(service_group(service.name())) {}

std::string Volumes::source_of(const config::Volume& volume) const {
  return volume.tmpfs ? paths_.staging() + "/" + volume.name : paths_.volume(volume.name);
}

// Who writes it: the file's `owner`, else the component that fetches secrets, else the first child
// that mounts it writable.
uid_t Volumes::owner_of(const config::Volume& volume) const {
  if (volume.owner && volume.owner->uid) return *volume.owner->uid;
  const config::Child* writer = nullptr;
  for (const config::Child& child : service_.children) {
    const bool writes = std::any_of(
        child.mounts.begin(), child.mounts.end(),
        [&](const auto& mount) { return mount.volume == volume.name && !mount.is_read_only; });
    const bool fetches_secrets = child.use == config::Component::Secrets;
    if (writes && (writer == nullptr || fetches_secrets)) writer = &child;
  }
  return writer != nullptr && writer->user && writer->user->uid ? *writer->user->uid : ::geteuid();
}

Result<void> Volumes::prepare() {
  for (const config::Volume& volume : service_.volumes) {
    if (!is_privileged_) {
      auto made = make_directories(volume.path, 0700);
      if (!made) return fail(made.error().wrap(fmt::format("volume \"{}\"", volume.name)));
      remarks_.push_back(fmt::format("volume \"{}\" is the plain directory {}: mounting needs root",
                                     volume.name, volume.path));
      continue;
    }
    Result<void> prepared = prepare_mount_point(volume);
    if (prepared && volume.tmpfs) prepared = make_directories(source_of(volume), 0700);
    if (prepared && !volume.tmpfs) prepared = prepare_directory(volume, source_of(volume));
    if (!prepared) return fail(prepared.error().wrap(fmt::format("volume \"{}\"", volume.name)));
    if (volume.tmpfs) {
      tmpfs_.push_back(
          {source_of(volume), fmt::format("size={},mode={:04o},uid={},gid={}", volume.tmpfs->value,
                                          mode_of(volume), owner_of(volume), group_)});
    }
  }
  return {};
}

Result<void> Volumes::prepare_directory(const config::Volume& volume, const std::string& path) {
  if (auto made = make_directories(path, 0700); !made) return made;
  if (::chown(path.c_str(), owner_of(volume), group_) < 0)
    return fail_errno("cannot chown " + path);
  if (::chmod(path.c_str(), mode_of(volume)) < 0) return fail_errno("cannot chmod " + path);
  return {};
}

// The path must exist before something can be bound over it. Other services may use the same path,
// and removing a directory of the host takes away what they have mounted on it in their namespaces.
// So directories that Pillion made carry a mark, every user holds a shared lock on them, and who
// gets the exclusive lock removes them.
Result<void> Volumes::prepare_mount_point(const config::Volume& volume) {
  std::vector<std::string> made;
  auto result = make_directories(volume.path, 0755, &made);
  for (const std::string& path : made) ::setxattr(path.c_str(), kMadeMark, "1", 1, 0);
  if (!result) return result;
  for (std::size_t end = volume.path.find('/', 1);; end = volume.path.find('/', end + 1)) {
    hold_mount_point(volume.path.substr(0, end));
    if (end == std::string::npos) return {};
  }
}

void Volumes::hold_mount_point(const std::string& path) {
  char mark[2];
  if (::getxattr(path.c_str(), kMadeMark, mark, sizeof mark) != 1) return;
  auto fd = open_file(path, O_RDONLY | O_DIRECTORY);
  if (!fd || ::flock(fd->get(), LOCK_SH | LOCK_NB) < 0) return;
  held_.emplace_back(path, std::move(*fd));
  std::string text;
  for (const auto& [each, held] : held_) text += each + "\n";
  // For a later supervisor: it removes them too.
  static_cast<void>(
      replace_file(paths_.runtime + "/mount-points", text, 0600, Survives::ProcessCrash));
}

std::vector<BindMount> Volumes::mounts_of(const config::Child& child) const {
  std::vector<BindMount> mounts;
  if (!is_privileged_) return mounts;
  for (const config::Mount& mount : child.mounts) {
    const config::Volume* volume = service_.find_volume(mount.volume);
    if (volume != nullptr) mounts.push_back({source_of(*volume), volume->path, mount.is_read_only});
  }
  // Outer paths first, so that a volume within another one is not covered.
  std::stable_sort(mounts.begin(), mounts.end(), [](const auto& left, const auto& right) {
    return left.target.size() < right.target.size();
  });
  return mounts;
}

void Volumes::remove() {
  const std::string list = paths_.runtime + "/mount-points";
  if (auto text = read_file(list)) {
    std::istringstream lines(*text);
    std::vector<std::string> paths;
    for (std::string line; std::getline(lines, line);) paths.push_back(line);
    held_.clear();
    // Innermost first; rmdir leaves what others have put something into.
    for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
      auto fd = open_file(*path, O_RDONLY | O_DIRECTORY);
      if (fd && ::flock(fd->get(), LOCK_EX | LOCK_NB) == 0) ::rmdir(path->c_str());
    }
  }
  ::unlink(list.c_str());
  for (const config::Volume& volume : service_.volumes) {
    if (volume.tmpfs) ::rmdir(source_of(volume).c_str());
  }
  ::rmdir(paths_.staging().c_str());
}

}  // namespace pillion::supervisor::host
