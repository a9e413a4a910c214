#include "adapters/logs/journal/journal_entry.h"

#include <algorithm>
#include <charconv>

#include "adapters/logs/encode/timestamp.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

constexpr std::string_view kLevels[] = {"fatal", "alert",  "critical", "error",
                                        "warn",  "notice", "info",     "debug"};

struct Known {
  std::string_view field;
  std::string_view name;
  bool is_number = false;
};
constexpr Known kKnown[] = {
    {"MESSAGE", "message"},
    {"_SYSTEMD_UNIT", "systemd.unit"},
    {"_SYSTEMD_USER_UNIT", "systemd.user_unit"},
    {"_SYSTEMD_SLICE", "systemd.slice"},
    {"_SYSTEMD_INVOCATION_ID", "systemd.invocation_id"},
    {"_TRANSPORT", "systemd.transport"},
    {"UNIT", "systemd.about_unit"},
    {"MESSAGE_ID", "systemd.message_id"},
    {"_PID", "process.pid", true},
    {"_COMM", "process.name"},
    {"_EXE", "process.executable"},
    {"_CMDLINE", "process.command_line"},
    {"TID", "process.thread.id", true},
    {"_UID", "user.id"},
    {"_GID", "user.group.id"},
    {"_HOSTNAME", "host.hostname"},
    {"_MACHINE_ID", "host.id"},
    {"_BOOT_ID", "host.boot.id"},
    {"SYSLOG_IDENTIFIER", "log.syslog.appname"},
    {"SYSLOG_FACILITY", "log.syslog.facility.code", true},
    {"SYSLOG_PID", "log.syslog.procid"},
    {"CODE_FILE", "log.origin.file.name"},
    {"CODE_LINE", "log.origin.file.line", true},
    {"CODE_FUNC", "log.origin.function"},
    {"CONTAINER_ID_FULL", "container.id"},
    {"CONTAINER_NAME", "container.name"},
    {"IMAGE_NAME", "container.image.name"},
    {"ERRNO", "error.code"},
};

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 18 &&
         text.find_first_not_of("0123456789") == std::string_view::npos &&
         (text.size() == 1 || text.front() != '0');
}

}  // namespace

void JournalEntry::begin(std::uint64_t realtime_us) {
  time_us_ = realtime_us;
  line_ = "{";
}

void JournalEntry::put_text(std::string_view name, std::string_view value) {
  append_json_string(line_, name);
  line_ += ':';
  append_json_string(line_, value.substr(0, value_bytes_max_));
  line_ += ',';
}

void JournalEntry::put_number(std::string_view name, std::string_view value) {
  if (!is_number(value)) return put_text(name, value);
  append_json_string(line_, name);
  line_ += ':';
  line_ += value;
  line_ += ',';
}

// Of a program's own making: ORDER_ID becomes journald.order_id.
void JournalEntry::put_custom(std::string_view name, std::string_view value) {
  std::string own = "journald.";
  for (const char c : name) own += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  put_text(own, value);
}

void JournalEntry::add(std::string_view field) {
  const std::size_t equals = field.find('=');
  if (equals == std::string_view::npos) return;
  const std::string_view name = field.substr(0, equals), value = field.substr(equals + 1);
  if (name == "PRIORITY" && value.size() == 1 && value[0] >= '0' && value[0] <= '7') {
    put_text("level", kLevels[value[0] - '0']);
    return;
  }
  if (name == "_SOURCE_REALTIME_TIMESTAMP") {  // when it was written, not when it arrived
    std::from_chars(value.data(), value.data() + value.size(), time_us_);
    return;
  }
  const auto known = std::find_if(std::begin(kKnown), std::end(kKnown),
                                  [&](const Known& entry) { return entry.field == name; });
  if (known != std::end(kKnown)) {
    known->is_number ? put_number(known->name, value) : put_text(known->name, value);
  } else if (!name.empty() && name.front() != '_' && name != "SYSLOG_TIMESTAMP" &&
             name != "SYSLOG_RAW" && name != "PRIORITY") {
    put_custom(name, value);
  }
}

std::string_view JournalEntry::finish() {
  char time[kTimeBytesMax];
  line_ += "\"time\":\"";
  line_.append(time, render_wall_time(static_cast<std::int64_t>(time_us_) * 1000, time));
  line_ += "\"}\n";
  return line_;
}

}  // namespace pillion::logs
