#include "adapters/logs/encode/docker_line.h"

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"
#include "adapters/logs/encode/state.h"

namespace pillion::logs {

bool read_docker_line(std::string_view line, DockerLine& out) {
  if (!line.starts_with("{\"") || !line.ends_with('}')) return false;
  bool has_text = false;
  out.stream = out.time = {};
  RecordFields fields(line);
  for (RecordField field; fields.next(field);) {
    const std::string_view value = field.value;
    const bool is_string = value.size() >= 2 && value.front() == '"' && value.back() == '"';
    if (!is_string) continue;  // "attrs" of the log options
    if (field.key == "log") {
      out.text = unescaped(value);
      has_text = true;
    } else if (field.key == "stream") {
      out.stream = value.substr(1, value.size() - 2);
    } else if (field.key == "time") {
      out.time = value.substr(1, value.size() - 2);
    }
  }
  const bool is_known = out.stream == "stdout" || out.stream == "stderr";
  if (!has_text || !is_known || out.time.empty() || out.time.size() > 40) return false;
  out.is_partial = !out.text.ends_with('\n');
  if (!out.is_partial) out.text.pop_back();
  if (out.text.ends_with('\r')) out.text.pop_back();
  out.text.reserve(out.text.size() + kScanPadding);
  return true;
}

}  // namespace pillion::logs
