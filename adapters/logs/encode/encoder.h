// Lines of one source in, JSON records out. Pure: touches no file and no clock.
//
// An Encoder belongs to one source (a file, a stream), one output and the thread that made it: it
// remembers the minute of the last timestamp, what `auto` has seen, and joined partial lines of the
// CRI format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/logs/encode/field_rules.h"
#include "adapters/logs/encode/kernel.h"
#include "adapters/logs/encode/line_groups.h"
#include "adapters/logs/encode/record_filter.h"
#include "adapters/logs/encode/state.h"

namespace pillion::logs {

struct EncoderOptions {
  Format format = Format::Auto;
  // Of format Pattern, Regex and Csv.
  std::shared_ptr<const Layout> layout;
  std::shared_ptr<RegexFormat> regex;  // not shared between threads
  std::vector<std::string> columns;
  bool is_cri = false;
  bool is_docker = false;
  std::optional<GroupRules> groups;  // none: every line is a record
  TimeZone zone;
  Envelope envelope;
  FieldRulesOptions field_rules;
  std::shared_ptr<RecordFilter> filter;  // null: every record is wanted
  std::size_t line_bytes_max = 1u << 20;
};

class Encoder {
 public:
  explicit Encoder(EncoderOptions options, const Kernel& kernel = kernel_for_this_cpu());

  // The time that lines without one get. Call before encoding what was read then.
  void set_observed_time(std::int64_t unix_nanoseconds);

  // Encodes complete lines of `chunk`, whose first byte stands at `offset` of its file, until the
  // buffer holds `buffer_bytes_max` bytes. Returns how many bytes of the chunk it took.
  // kScanPadding bytes must be readable behind the chunk.
  std::size_t encode(std::string_view chunk, std::uint64_t offset, RecordBuffer& buffer,
                     std::size_t buffer_bytes_max = SIZE_MAX);

  // As encode(), for the end of the chunk being the end of a group of lines, too.
  std::size_t encode_rest(std::string_view chunk, std::uint64_t offset, RecordBuffer& buffer,
                          std::size_t buffer_bytes_max = SIZE_MAX);

  // One line that its writer has not finished (no newline), marked "partial"; or the head of one
  // that is longer than line_bytes_max, marked "truncated".
  void encode_unfinished(std::string_view line, std::uint64_t offset, RecordBuffer& buffer);

  // Writes the CRI lines that would be one record with lines to come.
  void flush_groups(RecordBuffer& buffer);
  // As flush_groups, then the partial CRI lines that still wait for their end.
  void flush_joined(RecordBuffer& buffer);

  // How far the file may count as handled when everything written so far is acknowledged and
  // `offset` was reached: not behind the start of a partial line or group of lines that
  // waits for its end.
  std::uint64_t safe_offset(std::uint64_t offset) const;

  // What `auto` chose, once, after it has chosen: "prefixed-logfmt (62 of 64 lines)".
  std::string take_choice();

  Format active_format() const { return state_.active; }
  // How a line read while active_format() was Auto or Mixed was understood, the last of them.
  Format detected_format() const { return state_.scratch.detected; }
  // Why the last line was not of its format; empty when it was.
  std::string_view last_failure() const {
    return state_.scratch.failure == nullptr ? std::string_view() : state_.scratch.failure;
  }
  const EncodeCounters& counters() const { return state_.counters; }
  // The identity of the source in document ids; does nothing when the envelope asks for none.
  void set_document_id(std::uint64_t identity);

 private:
  EncodeState state_;
  const Kernel& kernel_;
};

}  // namespace pillion::logs
