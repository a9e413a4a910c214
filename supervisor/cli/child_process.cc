#include "supervisor/cli/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace pillion::supervisor::cli {

namespace {

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = text.find_first_not_of(separators, at)) != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

template<class T>
T number(const std::vector<std::string>& words, std::size_t index, int base = 10) {
  T value = 0;
  if (index < words.size()) {
    const std::string& word = words[index];
    std::from_chars(word.data(), word.data() + word.size(), value, base);
  }
  return value;
}

// What the supervisor says to this child alone; another process must not answer for it.
bool is_private_variable(std::string_view entry) {
  static constexpr std::string_view kNames[] = {
      "NOTIFY_SOCKET=",  "LISTEN_FDS=",    "LISTEN_PID=",
      "LISTEN_FDNAMES=", "WATCHDOG_USEC=", "WATCHDOG_PID="};
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](std::string_view name) { return entry.starts_with(name); });
}

Result<void> read_namespaces(ChildProcess& process) {
  struct Kind {
    const char* name;
    int flag;
  };
  static constexpr Kind kKinds[] = {{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS},
                                    {"net", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},
                                    {"uts", CLONE_NEWUTS},   {"cgroup", CLONE_NEWCGROUP},
                                    {"pid", CLONE_NEWPID}};
  for (const Kind& kind : kKinds) {
    auto theirs = open_file(fmt::format("/proc/{}/ns/{}", process.pid, kind.name), O_RDONLY);
    if (!theirs) return fail(theirs.error());
    struct stat their_status {
    }, our_status{};
    const std::string ours = fmt::format("/proc/self/ns/{}", kind.name);
    if (::fstat(theirs->get(), &their_status) != 0 || ::stat(ours.c_str(), &our_status) != 0) {
      return fail_errno("cannot compare namespaces");
    }
    if (their_status.st_ino == our_status.st_ino) continue;
    process.namespaces.emplace_back(kind.flag, std::move(*theirs));
  }
  return {};
}

void map_ids(ChildProcess& process) {
  const auto users = read_file(fmt::format("/proc/{}/uid_map", process.pid));
  const auto groups = read_file(fmt::format("/proc/{}/gid_map", process.pid));
  if (!users || !groups) return;
  process.uid = map_id(*users, process.uid);
  process.gid = map_id(*groups, process.gid);
  for (gid_t& group : process.groups) group = map_id(*groups, group);
}

std::string unescape_mount(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ec == std::errc()) {
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::vector<std::string> status_words(std::string_view status, std::string_view key) {
  for (const std::string_view line : split(status, "\n")) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const auto words = split(line.substr(key.size() + 1), " \t");
    return {words.begin(), words.end()};
  }
  return {};
}

std::vector<std::string> cgroup_directories(std::string_view cgroup, std::string_view mountinfo) {
  std::vector<std::string> directories;
  for (const std::string_view line : split(cgroup, "\n")) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    const std::string_view controller = controllers.substr(0, controllers.find(','));
    for (const std::string_view mount : split(mountinfo, "\n")) {
      const auto words = split(mount, " ");
      const auto dash = std::find(words.begin(), words.end(), "-");
      if (words.size() < 5 || words.end() - dash < 4) continue;
      const auto options = split(dash[3], ",");
      const bool is_it = controllers.empty()
                             ? dash[1] == "cgroup2"
                             : dash[1] == "cgroup" && std::find(options.begin(), options.end(),
                                                                controller) != options.end();
      if (!is_it) continue;
      // A bind of a part of the hierarchy shows only what is below its root.
      const std::string root = words[3] == "/" ? "" : unescape_mount(words[3]);
      if (path.compare(0, root.size(), root) != 0) continue;
      directories.push_back(unescape_mount(words[4]) + path.substr(root.size()));
      break;
    }
  }
  return directories;
}

unsigned map_id(std::string_view map, unsigned outside) {
  for (const std::string_view line : split(map, "\n")) {
    const auto fields = split(line, " \t");
    const std::vector<std::string> words(fields.begin(), fields.end());
    const auto inside = number<unsigned>(words, 0), first = number<unsigned>(words, 1);
    const auto count = number<unsigned>(words, 2);
    if (outside >= first && outside - first < count) return inside + (outside - first);
  }
  return outside;
}

Result<ChildProcess> inspect_process(pid_t pid) {
  ChildProcess process;
  process.pid = pid;
  const std::string directory = fmt::format("/proc/{}", pid);
  const auto status = read_file(directory + "/status");
  if (!status) return fail(fmt::format("process {} is gone", pid));
  process.uid = number<uid_t>(status_words(*status, "Uid"), 1);
  process.gid = number<gid_t>(status_words(*status, "Gid"), 1);
  for (const std::string& group : status_words(*status, "Groups")) {
    process.groups.push_back(number<gid_t>({group}, 0));
  }
  process.permitted = number<std::uint64_t>(status_words(*status, "CapPrm"), 0, 16);
  process.ambient = number<std::uint64_t>(status_words(*status, "CapAmb"), 0, 16);
  process.bounding = number<std::uint64_t>(status_words(*status, "CapBnd"), 0, 16);
  process.has_no_new_privileges = number<int>(status_words(*status, "NoNewPrivs"), 0) == 1;

  const auto environment = read_file(directory + "/environ");
  auto root = open_file(directory + "/root", O_PATH | O_DIRECTORY);
  char cwd[4096];
  const ssize_t length = ::readlink((directory + "/cwd").c_str(), cwd, sizeof cwd);
  if (!environment || !root || length < 0) {
    return fail(
        fmt::format("cannot look into process {}; use sudo, or be user {}", pid, process.uid));
  }
  for (const std::string_view entry : split(*environment, std::string_view("\0", 1))) {
    if (!is_private_variable(entry)) process.environment.emplace_back(entry);
  }
  process.root = std::move(*root);
  process.working_directory.assign(cwd, static_cast<std::size_t>(length));
  if (auto read = read_namespaces(process); !read) return fail(read.error());
  process.has_user_namespace =
      !process.namespaces.empty() && process.namespaces.front().first == CLONE_NEWUSER;
  if (process.has_user_namespace) map_ids(process);
  const auto cgroup = read_file(directory + "/cgroup");
  const auto mountinfo = read_file("/proc/self/mountinfo");
  if (cgroup && mountinfo) process.cgroups = cgroup_directories(*cgroup, *mountinfo);
  return process;
}

}  // namespace pillion::supervisor::cli
