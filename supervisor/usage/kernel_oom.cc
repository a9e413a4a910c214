#include "supervisor/usage/kernel_oom.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "runtime/fd.h"

namespace pillion::supervisor::usage {
namespace {

constexpr std::size_t kRecordBytesMax = 8192;  // of one read()
constexpr std::size_t kLogBytesMax = 4u << 20;

struct Record {
  std::uint64_t at_microseconds = 0;
  std::string_view message;
};

std::optional<std::uint64_t> number_at(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

// "6,339,5140900,-;message"; continuation lines begin with a blank and are no records.
std::optional<Record> parse_record(std::string_view line) {
  const auto semicolon = line.find(';');
  if (semicolon == std::string_view::npos || line.front() == ' ') return std::nullopt;
  std::string_view head = line.substr(0, semicolon);
  for (int i = 0; i < 2; ++i) {
    const auto comma = head.find(',');
    if (comma == std::string_view::npos) return std::nullopt;
    head.remove_prefix(comma + 1);
  }
  const auto at = number_at(head);
  if (!at) return std::nullopt;
  return Record{*at, line.substr(semicolon + 1)};
}

// The value of "key=value" up to a comma, or the end.
std::string_view value_of(std::string_view text, std::string_view key) {
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    const bool is_start = at == 0 || text[at - 1] == ',' || text[at - 1] == ':';
    if (!is_start || text.substr(at + key.size(), 1) != "=") continue;
    const std::string_view value = text.substr(at + key.size() + 1);
    return value.substr(0, value.find(','));
  }
  return {};
}

std::uint64_t kilobytes_after(std::string_view text, std::string_view key) {
  const auto at = text.find(key);
  if (at == std::string_view::npos) return 0;
  return number_at(text.substr(at + key.size())).value_or(0) * 1024;
}

// "[  123]  1000   123   5000   1500 …  0 name": pid, uid, tgid, total_vm, rss (pages), …
std::optional<ProcessUse> parse_task(std::string_view message) {
  if (!message.starts_with('[')) return std::nullopt;
  const auto end = message.find(']');
  const auto last = message.find_last_of(' ');
  if (end == std::string_view::npos || last == std::string_view::npos || last < end) {
    return std::nullopt;
  }
  const auto pid = number_at(message.substr(1, end - 1));
  if (!pid) return std::nullopt;
  std::string_view rest = message.substr(end + 1);
  std::uint64_t rss = 0;
  for (int column = 0; column < 4; ++column) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto number = number_at(rest);
    if (!number) return std::nullopt;
    rss = *number;
    rest.remove_prefix(std::min(rest.find(' '), rest.size()));
  }
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return ProcessUse{static_cast<long>(*pid), std::string(message.substr(last + 1)), rss * page};
}

// "Memory cgroup out of memory: Killed process 12 (name) total-vm:1kB, anon-rss:2kB, …" and
// "Out of memory: Killed process 12 (name) …"; with memory.oom.group further "Killed process" lines
// follow one "oom-kill:" line.
bool parse_killed(std::string_view message, KernelOomKill& kill) {
  constexpr std::string_view kWords = "Killed process ";
  const auto at = message.find(kWords);
  if (at == std::string_view::npos) return false;
  const auto pid = number_at(message.substr(at + kWords.size()));
  const auto open = message.find('(', at);
  const auto close = message.rfind(") total-vm");
  if (!pid || open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return false;
  }
  kill.victim.pid = static_cast<long>(*pid);
  kill.victim.name = message.substr(open + 1, close - open - 1);
  kill.victim.bytes = kilobytes_after(message, "anon-rss:") +
                      kilobytes_after(message, "file-rss:") +
                      kilobytes_after(message, "shmem-rss:");
  return true;
}

std::vector<ProcessUse> largest(std::vector<ProcessUse> tasks) {
  std::sort(tasks.begin(), tasks.end(),
            [](const auto& left, const auto& right) { return left.bytes > right.bytes; });
  if (tasks.size() > kTopMax) tasks.resize(kTopMax);
  return tasks;
}

}  // namespace

std::vector<KernelOomKill> parse_kernel_oom_kills(std::string_view log) {
  std::vector<KernelOomKill> kills;
  std::vector<ProcessUse> tasks;
  KernelOomKill cause;
  while (!log.empty()) {
    const std::string_view line = log.substr(0, log.find('\n'));
    log.remove_prefix(std::min(line.size() + 1, log.size()));
    const auto record = parse_record(line);
    if (!record) continue;
    if (record->message.starts_with("Tasks state")) tasks.clear();
    if (auto task = parse_task(record->message)) tasks.push_back(std::move(*task));
    if (record->message.starts_with("oom-kill:")) {
      cause = {};
      cause.is_by_group = value_of(record->message, "constraint") == "CONSTRAINT_MEMCG";
      cause.limit_group = value_of(record->message, "oom_memcg");
      cause.victim_group = value_of(record->message, "task_memcg");
      cause.top = largest(std::move(tasks));
      tasks.clear();
    }
    KernelOomKill kill = cause;
    if (!parse_killed(record->message, kill)) continue;
    kill.at_microseconds = record->at_microseconds;
    kills.push_back(std::move(kill));
  }
  return kills;
}

std::string read_kernel_log(Duration span) {
  std::string log;
  auto file = open_file("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (!file) return log;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto since =
      std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec) - span;
  const auto since_microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  std::string record(kRecordBytesMax, '\0');
  std::size_t total = 0;
  while (total < kLogBytesMax) {
    const ssize_t size = ::read(file->get(), record.data(), record.size());
    if (size < 0 && errno == EPIPE) continue;  // overwritten while we read: go on with what is left
    if (size <= 0) break;
    total += static_cast<std::size_t>(size);
    const std::string_view text(record.data(), static_cast<std::size_t>(size));
    const auto parsed = parse_record(text.substr(0, text.find('\n')));
    if (parsed && static_cast<std::int64_t>(parsed->at_microseconds) >= since_microseconds) {
      log += text;
    }
  }
  return log;
}

}  // namespace pillion::supervisor::usage
