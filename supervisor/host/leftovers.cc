#include "supervisor/host/leftovers.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "config/parse_units.h"
#include "config/service.h"
#include "netns/wanted.h"
#include "supervisor/host/child_environment.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {
namespace {

namespace filesystem = std::filesystem;

constexpr std::string_view kPrefix = "pillion-";
constexpr int kCgroupDepthMax = 8;
constexpr auto kEndPeriod = std::chrono::milliseconds(20);
constexpr int kEndRoundsMax = 250;

std::string first_line(const std::string& path) {
  const auto text = read_file(path);
  return text ? text->substr(0, text->find('\n')) : "";
}

// The parent may hold directories of others, when PILLION_RUNTIME_DIR says so.
bool is_runtime_directory(const filesystem::path& directory) {
  std::error_code ignored;
  for (const char* file : {"lock", "control", "state.json"}) {
    if (filesystem::exists(directory / file, ignored)) return true;
  }
  return false;
}

std::optional<pid_t> parse_pid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.size() || pid <= 1) return {};
  return pid;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// A keeper says on its command line which service it keeps.
std::optional<pid_t> find_keeper(const std::string& name) {
  std::error_code ignored;
  for (const auto& entry : filesystem::directory_iterator("/proc", ignored)) {
    const auto pid = parse_pid(entry.path().filename().string());
    if (!pid) continue;
    const auto command = read_file(entry.path() / "cmdline");
    if (!command || command->find("pillion-keeper") == std::string::npos) continue;
    const std::string wanted = std::string("--name") + '\0' + name + '\0';
    if (command->find(wanted) != std::string::npos) return pid;
  }
  return {};
}

std::vector<std::string> cgroup_mounts() {
  std::vector<std::string> mounts;
  const auto text = read_file("/proc/self/mounts");
  for (const std::string& line : lines_of(text ? *text : "")) {
    std::istringstream words(line);
    std::string source, target, type;
    words >> source >> target >> type;
    if (type == "cgroup" || type == "cgroup2") mounts.push_back(target);
  }
  return mounts;
}

void find_groups(const filesystem::path& directory, int depth, std::string_view prefix,
                 std::vector<std::string>& found) {
  std::error_code ignored;
  for (const auto& entry : filesystem::directory_iterator(directory, ignored)) {
    if (!entry.is_directory(ignored) || entry.is_symlink(ignored)) continue;
    if (entry.path().filename().string().starts_with(prefix)) {
      found.push_back(entry.path().string());
    } else if (depth < kCgroupDepthMax) {
      find_groups(entry.path(), depth + 1, prefix, found);
    }
  }
}

// The groups that services make for themselves: a service of systemd has its unit's, which systemd
// removes. Each once, whatever the number of ways to it.
std::vector<std::string> find_all_groups() {
  std::vector<std::string> found;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const std::string& mount : cgroup_mounts()) find_groups(mount, 0, kPrefix, found);
  std::erase_if(found, [&](const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) < 0) return true;
    return !seen.insert({status.st_dev, status.st_ino}).second;
  });
  return found;
}

std::vector<std::string> groups_of(const std::string& name) {
  std::vector<std::string> groups = find_all_groups();
  std::erase_if(groups, [&](const std::string& path) {
    return filesystem::path(path).filename() != std::string(kPrefix) + name;
  });
  return groups;
}

// `group` and all below it, innermost first.
std::vector<std::string> tree_of(const std::string& group) {
  std::vector<std::string> all = {group};
  std::error_code ignored;
  for (auto entry = filesystem::recursive_directory_iterator(group, ignored);
       entry != filesystem::recursive_directory_iterator(); entry.increment(ignored)) {
    if (entry->is_directory(ignored)) all.push_back(entry->path().string());
  }
  std::reverse(all.begin(), all.end());
  return all;
}

std::set<pid_t> processes_in(const std::vector<std::string>& groups) {
  std::set<pid_t> pids;
  for (const std::string& group : groups) {
    for (const std::string& directory : tree_of(group)) {
      const auto text = read_file(directory + "/cgroup.procs");
      for (const std::string& line : lines_of(text ? *text : "")) {
        if (const auto pid = parse_pid(line)) pids.insert(*pid);
      }
    }
  }
  return pids;
}

// By handle: the number may be another process' by now, so it is looked up again behind it.
void kill_processes(const std::vector<std::string>& groups) {
  for (const pid_t pid : processes_in(groups)) {
    const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!handle || processes_in(groups).count(pid) == 0) continue;
    ::syscall(SYS_pidfd_send_signal, handle.get(), SIGKILL, nullptr, 0);
  }
}

std::vector<std::string> mounts_below(const std::string& directory) {
  std::vector<std::string> mounts;
  const auto text = read_file("/proc/self/mounts");
  for (const std::string& line : lines_of(text ? *text : "")) {
    std::istringstream words(line);
    std::string source, target;
    words >> source >> target;
    if (target.starts_with(directory + "/")) mounts.push_back(target);
  }
  std::reverse(mounts.begin(), mounts.end());
  return mounts;
}

// Runs `pillion-netns remove`; its output, or what it complains about.
Result<std::string> run_netns_remove(const std::string& name) {
  auto pipe = make_pipe();
  if (!pipe) return fail(pipe.error());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe->write_end.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, pipe->write_end.get(), STDERR_FILENO);
  std::string program = program_directory() + "/pillion-netns", remove = "remove", service = name,
              path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* argv[] = {program.data(), remove.data(), service.data(), nullptr};
  char* env[] = {path.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv, env);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(Error::from_errno("cannot run " + program, error));
  pipe->write_end.reset();
  std::string output;
  char buffer[4096];
  for (ssize_t count; (count = ::read(pipe->read_end.get(), buffer, sizeof buffer)) > 0;) {
    output.append(buffer, static_cast<std::size_t>(count));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  return fail(output.empty() ? program + " failed" : output.substr(0, output.find('\n')));
}

}  // namespace

std::vector<std::string> find_service_names() {
  std::set<std::string> names;
  std::error_code ignored;
  const filesystem::path runtime = filesystem::path(service_paths("any").runtime).parent_path();
  for (const auto& entry : filesystem::directory_iterator(runtime, ignored)) {
    if (is_runtime_directory(entry.path())) names.insert(entry.path().filename().string());
  }
  const auto add = [&](const std::string& file) {
    if (file.starts_with(kPrefix)) names.insert(file.substr(kPrefix.size()));
  };
  for (const auto& entry : filesystem::directory_iterator("/run/netns", ignored)) {
    add(entry.path().filename().string());
  }
  for (const std::string& group : find_all_groups()) add(filesystem::path(group).filename());
  std::vector<std::string> valid;
  for (const std::string& name : names) {
    if (config::is_child_name(name)) valid.push_back(name);
  }
  return valid;
}

Result<DeadService> DeadService::take(const std::string& name) {
  const std::string directory = service_paths(name).runtime;
  Fd lock;
  if (is_runtime_directory(directory)) {
    lock = Fd(::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!lock) return fail_errno("cannot open the lock of " + name);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) return fail(Error(name + " runs", EBUSY));
  }
  // Its runtime directory may be another one than ours.
  if (const auto keeper = find_keeper(name)) {
    return fail(Error(fmt::format("{} runs (its keeper is pid {})", name, *keeper), EBUSY));
  }
  return DeadService(name, std::move(lock));
}

DeadService::~DeadService() = default;

std::vector<Leftover> DeadService::find() const {
  std::vector<Leftover> found;
  const auto groups = groups_of(name_);
  for (const pid_t pid : processes_in(groups)) {
    found.push_back({"process", fmt::format("process {} ({})", pid,
                                            first_line(fmt::format("/proc/{}/comm", pid)))});
  }
  for (const std::string& group : groups) found.push_back({"cgroup", "cgroup " + group});
  const netns::Names names = netns::names_of(name_);
  if (::access(names.netns_path.c_str(), F_OK) == 0) {
    found.push_back({"network", "namespace " + names.netns_path});
  }
  const std::string link = "/sys/class/net/" + names.host_interface;
  if (::access(link.c_str(), F_OK) == 0) {
    found.push_back({"network", "interface " + names.host_interface});
  }
  const std::string directory = service_paths(name_).runtime;
  for (const std::string& mount : mounts_below(directory)) {
    found.push_back({"mount", "mount " + mount});
  }
  if (is_runtime_directory(directory)) {
    found.push_back({"directory", "directory " + directory});
  }
  return found;
}

Result<void> DeadService::remove(std::vector<Leftover>& removed) {
  if (auto done = end_processes(removed); !done) return done;
  if (auto done = remove_cgroups(removed); !done) return done;
  if (auto done = remove_network(removed); !done) return done;
  // Last: by it and by the namespace's pin a service is found.
  return remove_runtime_directory(removed);
}

Result<void> DeadService::end_processes(std::vector<Leftover>& removed) const {
  const auto groups = groups_of(name_);
  const auto pids = processes_in(groups);
  std::vector<Leftover> found;
  for (const pid_t pid : pids) {
    found.push_back({"process", fmt::format("process {} ({})", pid,
                                            first_line(fmt::format("/proc/{}/comm", pid)))});
  }
  for (int round = 0; !processes_in(groups).empty(); ++round) {
    if (round == kEndRoundsMax) {
      return fail(
          fmt::format("{} processes of {} do not end; `systemd-cgls` or {}/cgroup.procs "
                      "shows them",
                      processes_in(groups).size(), name_, groups.front()));
    }
    kill_processes(groups);
    std::this_thread::sleep_for(kEndPeriod);
  }
  removed.insert(removed.end(), found.begin(), found.end());
  return {};
}

Result<void> DeadService::remove_cgroups(std::vector<Leftover>& removed) const {
  for (const std::string& group : groups_of(name_)) {
    for (const std::string& directory : tree_of(group)) {
      if (::rmdir(directory.c_str()) < 0 && errno != ENOENT) {
        return fail_errno("cannot remove " + directory);
      }
    }
    removed.push_back({"cgroup", "cgroup " + group});
  }
  return {};
}

Result<void> DeadService::remove_network(std::vector<Leftover>& removed) const {
  const bool has_network = ::access(netns::names_of(name_).netns_path.c_str(), F_OK) == 0;
  if (!has_network && ::geteuid() != 0) return {};
  const auto output = run_netns_remove(name_);
  if (!output) return fail(output.error());
  constexpr std::string_view kRemoved = "removed ";
  for (const std::string& line : lines_of(*output)) {
    if (line.starts_with(kRemoved)) removed.push_back({"network", line.substr(kRemoved.size())});
  }
  return {};
}

Result<void> DeadService::remove_runtime_directory(std::vector<Leftover>& removed) const {
  const ServicePaths paths = service_paths(name_);
  if (!is_runtime_directory(paths.runtime)) return {};
  config::Service nobody;
  nobody.settings.name = name_;
  Volumes(nobody, paths, true).remove();  // the mount points that it made elsewhere
  for (const std::string& mount : mounts_below(paths.runtime)) {
    if (::umount2(mount.c_str(), MNT_DETACH) < 0) return fail_errno("cannot unmount " + mount);
    removed.push_back({"mount", "mount " + mount});
  }
  std::error_code error;
  filesystem::remove_all(paths.runtime, error);
  if (error) return fail(fmt::format("cannot remove {}: {}", paths.runtime, error.message()));
  removed.push_back({"directory", "directory " + paths.runtime});
  return {};
}

}  // namespace pillion::supervisor::host
