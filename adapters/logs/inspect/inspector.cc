#include "adapters/logs/inspect/inspector.h"

#include <utility>

namespace pillion::logs {
namespace {

EncoderOptions judging_each(EncoderOptions options) {
  if (options.format == Format::Auto) options.format = Format::Mixed;
  return options;
}

// Partial lines of the CRI format are not joined by hand, so their records are single lines.
EncoderOptions without_cri_groups(EncoderOptions options) {
  if (options.is_cri || options.is_docker) options.groups.reset();
  return options;
}

}  // namespace

Inspector::Inspector(EncoderOptions options, bool judges_each)
    : options_(
          without_cri_groups(judges_each ? judging_each(std::move(options)) : std::move(options))),
      encoder_(options_) {}

void Inspector::set_observed_time(std::int64_t unix_nanoseconds) {
  observed_ = unix_nanoseconds;
  encoder_.set_observed_time(unix_nanoseconds);
}

LineVerdict Inspector::inspect(std::string_view line) {
  padded_.clear();
  padded_.reserve(line.size() + 1 + kScanPadding);
  padded_.append(line).push_back('\n');
  const Format before = encoder_.active_format();
  const std::uint64_t failures = encoder_.counters().parse_failures;
  buffer_.clear();
  encoder_.encode_rest(padded_, 0, buffer_);
  LineVerdict verdict;
  const bool is_detected = before == Format::Auto || before == Format::Mixed;
  verdict.format = is_detected ? encoder_.detected_format() : before;
  if (buffer_.record_count() == 0) return verdict;
  verdict.record = buffer_.record(0);
  verdict.record.pop_back();  // its newline
  if (encoder_.counters().parse_failures > failures) {
    verdict.is_parsed = false;
    verdict.reason = encoder_.last_failure();
  } else if (options_.format != Format::Raw && verdict.format == Format::Raw) {
    verdict.is_parsed = false;
    verdict.reason = "no format that `auto` knows fits";
  }
  return verdict;
}

std::vector<Attempt> Inspector::attempts_at(std::string_view line) const {
  std::vector<Attempt> attempts;
  for (const Format format :
       {Format::Json, Format::Clf, Format::PrefixedLogfmt, Format::Logfmt, Format::Timed}) {
    EncoderOptions options = options_;
    options.format = format;
    Inspector one(std::move(options), false);
    one.set_observed_time(observed_);
    auto verdict = one.inspect(line);
    if (!verdict.is_parsed) attempts.push_back({format, std::move(verdict.reason)});
  }
  return attempts;
}

}  // namespace pillion::logs
