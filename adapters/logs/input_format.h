// How the lines of an `[[input]]` are read, from its configuration.
#pragma once

#include "adapters/logs/encode/encoder.h"
#include "config/logs.h"
#include "runtime/result.h"

namespace pillion::logs {

Format format_of(config::LogFormat format);
// What `pattern` says for the formats that have one.
Result<void> set_pattern(const config::LogInput& input, EncoderOptions& options);
// What `multiline` says.
Result<void> set_groups(const config::LogInput& input, EncoderOptions& options);

}  // namespace pillion::logs
