#include "supervisor/host/cgroup_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "runtime/fd.h"

namespace pillion::supervisor::host {
namespace {

std::uint64_t to_number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Result<void> write_cgroup_file(const std::string& path, std::string_view value) {
  auto fd = open_file(path, O_WRONLY);
  if (!fd) return fail(fd.error());
  if (::write(fd->get(), value.data(), value.size()) < 0) {
    return fail_errno("cannot write \"" + std::string(value) + "\" to " + path);
  }
  return {};
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::uint64_t read_cgroup_number(const std::string& path) {
  auto text = read_file(path);
  return text ? to_number(*text) : 0;
}

std::uint64_t find_cgroup_key(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      return to_number(line.substr(key.size() + 1));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return 0;
}

std::uint64_t read_cgroup_key(const std::string& path, std::string_view key) {
  auto text = read_file(path);
  return text ? find_cgroup_key(*text, key) : 0;
}

std::vector<long> read_pids(const std::string& procs_file) {
  std::vector<long> pids;
  auto text = read_file(procs_file);
  if (!text) return pids;
  const char* at = text->data();
  const char* const end = at + text->size();
  while (at < end) {
    long pid = 0;
    const auto parsed = std::from_chars(at, end, pid);
    if (parsed.ec == std::errc() && pid > 0) pids.push_back(pid);
    at = std::find(parsed.ptr, end, '\n');
    if (at < end) ++at;
  }
  return pids;
}

void signal_pids(const std::string& procs_file, int signal_number) {
  for (const long pid : read_pids(procs_file)) ::kill(static_cast<pid_t>(pid), signal_number);
}

Result<void> make_cgroup(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) {
    return fail_errno("cannot create cgroup " + path);
  }
  return {};
}

bool remove_cgroup(const std::string& path) {
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR;
}

bool remove_cgroup_tree(const std::string& path, unsigned depth_max) {
  if (remove_cgroup(path)) return true;
  if (errno != EBUSY || depth_max == 0) return false;
  for (const std::string& name : list_cgroups(path)) {
    if (!remove_cgroup_tree(path + "/" + name, depth_max - 1)) return false;
  }
  return remove_cgroup(path);
}

std::vector<std::string> list_cgroups(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return names;
  while (const dirent* item = ::readdir(directory)) {
    if (item->d_type == DT_DIR && item->d_name[0] != '.') names.emplace_back(item->d_name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace pillion::supervisor::host
