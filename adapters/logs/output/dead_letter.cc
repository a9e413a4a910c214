#include "adapters/logs/output/dead_letter.h"

#include <fcntl.h>
#include <unistd.h>

#include "adapters/logs/encode/timestamp.h"
#include "runtime/json_text.h"

namespace pillion::logs {

Result<void> DeadLetterFile::append(std::string_view index, int status, std::string_view error,
                                    std::string_view document, std::int64_t wall_ns) {
  if (!fd_) {
    auto fd = open_file(path_, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (!fd) return fail(fd.error());
    fd_ = std::move(*fd);
  }
  if (!document.empty() && document.back() == '\n') document.remove_suffix(1);
  char time[kTimeBytesMax];
  std::string line = "{\"@timestamp\":\"";
  line.append(time, render_wall_time(wall_ns, time));
  line += "\",\"index\":";
  append_json_string(line, index);
  line += ",\"status\":" + std::to_string(status) + ",\"error\":";
  line += error.empty() ? "null" : error;
  line += ",\"document\":";
  line += document;
  line += "}\n";
  if (auto written = write_all(fd_.get(), line); !written) return fail(written.error().wrap(path_));
  return {};
}

Result<void> DeadLetterFile::sync() {
  if (fd_ && ::fdatasync(fd_.get()) < 0) return fail_errno("cannot sync " + path_);
  return {};
}

}  // namespace pillion::logs
