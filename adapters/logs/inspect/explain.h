// `pillion-logs explain`: how each line is read, as text or as one JSON object per line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "adapters/logs/inspect/inspector.h"

namespace pillion::logs {

// `number` counts lines from 1. The text ends with a newline.
std::string explain_text(const LineVerdict& verdict, std::uint64_t number);
// {"line":1,"format":"json","parsed":true,"record":{…}}, with "error" and "tried" when not parsed.
std::string explain_json(const LineVerdict& verdict, std::uint64_t number);

// Lines of file descriptor `input` until its end, explained on standard output as they come. The
// exit code: 0, 1 when a line did not parse, 71 when reading fails.
int explain_lines(Inspector inspector, int input, bool is_json);

}  // namespace pillion::logs
