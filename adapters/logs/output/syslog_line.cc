#include "adapters/logs/output/syslog_line.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"

namespace pillion::logs {
namespace {

// The private enterprise number for documentation (RFC 5612): we have none of our own.
constexpr std::string_view kElement = "fields@32473";
constexpr std::size_t kParameterNameMax = 32;

std::string text_of(std::string_view value) {
  return value.starts_with('"') ? unescaped(value) : std::string(value);
}

// A header field: printable ASCII without blanks, `-` when there is none.
std::string header_field(std::string_view text, std::size_t bytes_max) {
  std::string field;
  for (const char c : text.substr(0, bytes_max)) field += c > ' ' && c < 0x7f ? c : '_';
  return field.empty() ? "-" : field;
}

void put_parameter(std::string& out, std::string_view key, std::string_view value) {
  out += ' ';
  for (const char c : key.substr(0, kParameterNameMax)) {
    out += c > ' ' && c < 0x7f && c != '=' && c != ']' && c != '"' ? c : '_';
  }
  out += "=\"";
  for (const char c : text_of(value)) {
    if (c == '"' || c == '\\' || c == ']') out += '\\';
    out += c;
  }
  out += '"';
}

void cut(std::string& text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
  text.resize(bytes_max);
}

}  // namespace

unsigned syslog_severity(std::string_view level) {
  constexpr std::pair<std::string_view, unsigned> kLevels[] = {
      {"trace", 7}, {"debug", 7},    {"info", 6},  {"notice", 5}, {"warn", 4},
      {"error", 3}, {"critical", 2}, {"alert", 1}, {"fatal", 0}};
  for (const auto& [name, severity] : kLevels) {
    if (name == level) return severity;
  }
  return 6;
}

std::string syslog_line(std::string_view record, const SyslogLineOptions& options) {
  std::string time, host, own_host, app, service, process_id, message, parameters;
  unsigned severity = 6;
  RecordFields fields(record);
  for (RecordField field; fields.next(field);) {
    if (field.key == "@timestamp") {
      time = text_of(field.value);
    } else if (field.key == "log.level") {
      severity = syslog_severity(text_of(field.value));
    } else if (field.key == "message") {
      message = text_of(field.value);
    } else if (field.key == "host.hostname") {
      host = text_of(field.value);
    } else if (field.key == "host.name") {
      own_host = text_of(field.value);
    } else if (field.key == "process.name") {
      app = text_of(field.value);
    } else if (field.key == "service.name") {
      service = text_of(field.value);
    } else if (field.key == "process.pid") {
      process_id = text_of(field.value);
    } else {
      put_parameter(parameters, field.key, field.value);
    }
  }
  // At most six digits of a second (RFC 5424 §6.2.3).
  if (time.size() > 27) time = time.substr(0, 26) + "Z";
  if (!app.empty() && !service.empty()) {
    put_parameter(parameters, "service.name", '"' + service + '"');
  }
  std::string line =
      fmt::format("<{}>1 {} {} {} {} - {}", options.facility * 8 + severity,
                  time.empty() ? "-" : time, header_field(host.empty() ? own_host : host, 255),
                  header_field(app.empty() ? service : app, 48), header_field(process_id, 128),
                  parameters.empty() ? "-" : fmt::format("[{}{}]", kElement, parameters));
  if (!message.empty()) line += ' ' + message;
  cut(line, options.bytes_max);
  return line;
}

}  // namespace pillion::logs
