// A line of Docker's json-file driver:
//   {"log":"the line\\n","stream":"stdout","time":"2024-01-15T14:32:01.123456789Z"}
#pragma once

#include <string>
#include <string_view>

namespace pillion::logs {

struct DockerLine {
  std::string text;         // without its final line feed; padded as the scanning loops need it
  std::string_view stream;  // "stdout" or "stderr"; views into the line
  std::string_view time;
  bool is_partial = false;  // Docker cuts at 16 KiB: the line goes on in the next
};

// False when `line` is no such line; `out` is unspecified then.
bool read_docker_line(std::string_view line, DockerLine& out);

}  // namespace pillion::logs
