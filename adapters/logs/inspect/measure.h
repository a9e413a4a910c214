// `pillion-logs test`: how well and how fast files are understood, format by format.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "adapters/logs/encode/encoder.h"
#include "runtime/result.h"

namespace pillion::logs {

struct FailureSample {
  std::string file;
  std::uint64_t line = 0;  // from 1
  std::string reason;
  std::string text;  // the start of the line
};

struct FormatMeasure {
  std::uint64_t lines = 0;  // without empty ones
  std::uint64_t parsed = 0;
  std::vector<FailureSample> samples;  // of lines that did not parse, at most 5
  std::string first_lines;             // at most 1 MiB of lines, for the speed
  double megabytes_per_second = 0;
};

using Measures = std::map<Format, FormatMeasure>;

// Reads `path` as the adapter would: `auto` settles on a format after its first lines. Adds to
// `measures`. An error names the file.
Result<void> measure_file(const EncoderOptions& options, const std::string& path,
                          Measures& measures);
// Encodes each format's first lines again and again, for at least 50 ms, on this thread.
void measure_speed(const EncoderOptions& options, Measures& measures);

std::string measures_text(const Measures& measures);
std::string measures_json(const Measures& measures);

// The whole command. The exit code: 0, 1 when a line did not parse, 71 when a file cannot be read.
int test_files(const EncoderOptions& options, const std::vector<std::string>& paths, bool is_json);

}  // namespace pillion::logs
