#include "adapters/logs/inspect/measure.h"

#include <fcntl.h>
#include <sysexits.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "adapters/logs/inspect/inspector.h"
#include "adapters/logs/inspect/line_reader.h"
#include "runtime/fd.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

constexpr int kExitNotParsed = 1;
constexpr std::size_t kSamplesMax = 5;
constexpr std::size_t kSampleBytesMax = 200;
constexpr std::size_t kFirstLinesBytesMax = 1u << 20;
constexpr auto kMeasuredAtLeast = std::chrono::milliseconds(50);

std::int64_t unix_now() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

// One line of at most kSampleBytesMax bytes that a terminal shows as it is.
std::string printable(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text.substr(0, kSampleBytesMax));
  return quoted;
}

void count_line(FormatMeasure& measure, const LineVerdict& verdict, const std::string& path,
                std::uint64_t number, const std::string& line) {
  ++measure.lines;
  measure.parsed += verdict.is_parsed;
  if (measure.first_lines.size() + line.size() < kFirstLinesBytesMax) {
    measure.first_lines.append(line).push_back('\n');
  }
  if (!verdict.is_parsed && measure.samples.size() < kSamplesMax) {
    measure.samples.push_back({path, number, verdict.reason, line.substr(0, kSampleBytesMax)});
  }
}

double share(const FormatMeasure& measure) {
  return measure.lines == 0
             ? 0
             : 100.0 * static_cast<double>(measure.parsed) / static_cast<double>(measure.lines);
}

}  // namespace

Result<void> measure_file(const EncoderOptions& options, const std::string& path,
                          Measures& measures) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail(path + ": " + std::strerror(errno));
  Inspector inspector(options, false);
  inspector.set_observed_time(unix_now());
  LineReader reader(file.get(), options.line_bytes_max, inspector.options().groups);
  std::string line;
  for (;;) {
    const auto more = reader.next(line);
    if (!more) return fail(more.error().wrap(path));
    if (!*more) return {};
    const LineVerdict verdict = inspector.inspect(line);
    if (!verdict.record.empty())
      count_line(measures[verdict.format], verdict, path, reader.number(), line);
  }
}

void measure_speed(const EncoderOptions& options, Measures& measures) {
  for (auto& [format, measure] : measures) {
    EncoderOptions own = options;
    own.format = format;
    Encoder encoder(std::move(own));
    encoder.set_observed_time(unix_now());
    RecordBuffer buffer;
    const std::size_t bytes = measure.first_lines.size();
    std::string& text = measure.first_lines;
    text.append(kScanPadding, '\n');
    std::size_t done = 0;
    const auto begin = std::chrono::steady_clock::now();
    auto took = begin - begin;
    while (took < kMeasuredAtLeast && bytes > 0) {
      buffer.clear();
      encoder.encode_rest({text.data(), bytes}, 0, buffer);
      done += bytes;
      took = std::chrono::steady_clock::now() - begin;
    }
    text.resize(bytes);
    const double seconds = std::chrono::duration<double>(took).count();
    measure.megabytes_per_second = seconds > 0 ? static_cast<double>(done) / seconds / 1e6 : 0;
  }
}

std::string measures_text(const Measures& measures) {
  if (measures.empty()) return "no lines\n";
  std::string text = fmt::format("{:<16} {:>10} {:>8} {:>10} {:>8}\n", "format", "lines", "parsed",
                                 "failed", "MB/s");
  for (const auto& [format, measure] : measures) {
    text +=
        fmt::format("{:<16} {:>10} {:>7.2f}% {:>10} {:>8.0f}\n", name_of(format), measure.lines,
                    share(measure), measure.lines - measure.parsed, measure.megabytes_per_second);
  }
  for (const auto& [format, measure] : measures) {
    if (measure.samples.empty()) continue;
    text += fmt::format("\n{}, lines that do not parse:\n", name_of(format));
    for (const FailureSample& sample : measure.samples) {
      text += fmt::format("  {}:{}: {}\n    {}\n", sample.file, sample.line, sample.reason,
                          printable(sample.text));
    }
  }
  return text;
}

std::string measures_json(const Measures& measures) {
  std::string text = "{\"formats\":[";
  bool is_first = true;
  for (const auto& [format, measure] : measures) {
    if (!std::exchange(is_first, false)) text += ',';
    text += fmt::format(
        "{{\"format\":\"{}\",\"lines\":{},\"parsed\":{},\"failed\":{},"
        "\"megabytes_per_second\":{:.1f},\"failures\":[",
        name_of(format), measure.lines, measure.parsed, measure.lines - measure.parsed,
        measure.megabytes_per_second);
    for (const FailureSample& sample : measure.samples) {
      if (&sample != &measure.samples.front()) text += ',';
      text += "{\"file\":";
      append_json_string(text, sample.file);
      text += fmt::format(",\"line\":{},\"error\":", sample.line);
      append_json_string(text, sample.reason);
      text += ",\"text\":";
      append_json_string(text, sample.text);
      text += '}';
    }
    text += "]}";
  }
  return text + "]}\n";
}

int test_files(const EncoderOptions& options, const std::vector<std::string>& paths, bool is_json) {
  Measures measures;
  for (const std::string& path : paths) {
    if (const auto done = measure_file(options, path, measures); !done) {
      std::fprintf(stderr, "error: %s\n", done.error().message().c_str());
      return EX_OSERR;
    }
  }
  measure_speed(options, measures);
  const std::string text = is_json ? measures_json(measures) : measures_text(measures);
  std::fwrite(text.data(), 1, text.size(), stdout);
  for (const auto& [format, measure] : measures) {
    if (measure.parsed < measure.lines) return kExitNotParsed;
  }
  return 0;
}

}  // namespace pillion::logs
