// What the encoding of one source remembers from line to line, and the buffer it writes records to.
// Plain data: the encoder's inner loops (kernel_*.h) are compiled once per instruction set and
// share these types.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/docker_line.h"
#include "adapters/logs/encode/time_zone.h"

namespace pillion::logs {

struct Layout;
class RegexFormat;
class FieldRules;
class RecordFilter;
class LineGroup;

// Every buffer that lines are read from has this many readable bytes after its last line, so that
// vector loads need no bounds check.
inline constexpr std::size_t kScanPadding = 64;
// Limits of one record.
inline constexpr std::size_t kFieldsMax = 256;
inline constexpr std::size_t kKeyBytesMax = 128;

enum class Format : std::uint8_t {
  Auto,
  Mixed,
  Raw,
  Json,
  Logfmt,
  PrefixedLogfmt,
  Clf,
  Timed,  // a time among the first words, and text; only found by `auto`
  NginxError,
  ApacheError,
  Syslog3164,
  Syslog5424,
  Log4j,
  Glog,
  Python,
  Postgresql,
  Mysql,
  Redis,
  Haproxy,
  Envoy,
  JavaGc,
  Csv,
  Ltsv,
  KeyValue,
  Pattern,
  Regex
};
inline constexpr std::size_t kFormatCount = 26;
std::string_view name_of(Format format);

// One minute of local time and its UTC rendering: lines of the same minute pay for no calendar.
struct MinuteCache {
  char key[24] = {};  // bytes of the line up to and including the minute
  char zone[8] = {};  // the zone as the line spells it
  std::uint8_t zone_length = 0;
  bool is_valid = false;
  char utc[17] = {};  // "2024-01-15T14:32:"
  std::int64_t unix_minute = 0;
};

struct EncodeCounters {
  std::uint64_t lines = 0;
  std::uint64_t records = 0;
  std::uint64_t parse_failures = 0;
  std::uint64_t truncated = 0;
  std::uint64_t partial = 0;
  std::uint64_t invalid_utf8 = 0;
  std::uint64_t filtered = 0;

  EncodeCounters& operator+=(const EncodeCounters& more) {
    lines += more.lines;
    records += more.records;
    parse_failures += more.parse_failures;
    truncated += more.truncated;
    partial += more.partial;
    invalid_utf8 += more.invalid_utf8;
    filtered += more.filtered;
    return *this;
  }
};

// What is written around the fields of every record.
struct Envelope {
  struct Entry {
    std::string key;
    std::string rendered;  // "key":value,
  };
  std::string record_prefix;  // before each record: the action line of a bulk request
  static constexpr std::size_t kEntriesMax = 32;
  std::vector<Entry> entries;
  std::string tail;           // all entries rendered
  bool has_offset = false;    // log.offset
  bool has_created = false;   // event.created
  bool has_original = false;  // event.original
  // When set, the record prefix is `{"OP":{"_id":"<identity>-<offset>"}}` in place of
  // record_prefix.
  std::string id_base;    // up to and including the opening quote of the id; empty = no ids
  std::string id_prefix;  // id_base, identity and dash; set by the encoder
  std::string id_suffix;

  // Replaces an entry of the same key; beyond kEntriesMax does nothing.
  void add(std::string_view key, std::string_view value);
};

// Part of a line on its way to a JSON string.
enum class Text : std::uint8_t {
  Clean,      // nothing to escape
  Raw,        // escape what JSON asks for
  Backslash,  // was quoted: \" \\ \n \uXXXX already mean what they mean in JSON
  Doubled,    // was quoted as CSV does: "" is one quote
};
struct Piece {
  const char* begin;
  const char* end;
  Text text;
};
struct KeyRef {
  const char* data;
  std::uint32_t length;
};

// Records of one batch: NDJSON, back to back, with the end of each.
class RecordBuffer {
 public:
  // Room for `bytes` more; the returned pointer is where they go.
  char* reserve(std::size_t bytes) {
    if (capacity_ - size_ < bytes) grow(bytes);
    return data_.get() + size_;
  }
  // A record ends at `end`, which lies in the reserved room.
  void end_record(const char* end) {
    size_ = static_cast<std::size_t>(end - data_.get());
    if (record_count_ == record_capacity_) grow_ends();
    record_ends_[record_count_++] = static_cast<std::uint32_t>(size_);
  }
  void clear() { size_ = record_count_ = 0; }
  std::string_view bytes() const { return {data_.get(), size_}; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  std::size_t record_count() const { return record_count_; }
  // Record `index` with its prefix and final newline.
  std::string_view record(std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : record_ends_[index - 1];
    return {data_.get() + begin, record_ends_[index] - begin};
  }

 private:
  void grow(std::size_t bytes);
  void grow_ends();

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::unique_ptr<std::uint32_t[]> record_ends_;
  std::size_t record_count_ = 0;
  std::size_t record_capacity_ = 0;
};

// Bucket of a key in a 256-bit Bloom filter. Reads 8 bytes whatever the length.
inline std::uint32_t key_bucket(const char* key, std::size_t length) {
  std::uint64_t word;
  std::memcpy(&word, key, sizeof word);
  if (length < 8) word &= (std::uint64_t{1} << length * 8) - 1;
  word = (word ^ length) * 0x9e3779b97f4a7c15u;
  return static_cast<std::uint32_t>(word >> 56);
}

// A record in the making.
struct Scratch {
  std::uint64_t seen[4];  // Bloom filter over the keys written so far
  KeyRef keys[kFieldsMax];
  std::uint32_t key_count;
  std::uint32_t envelope_skip;  // bit per envelope entry that the line itself has
  Piece pieces[kFieldsMax + 1];
  std::uint32_t piece_count;
  bool has_time;
  bool has_level;
  bool has_further_lines;  // of the record, not written yet
  bool is_truncated;
  bool is_partial;
  const char* failure;  // why the line was not parsed, or null
  Format detected;      // how the line was read, where each is judged by itself
};

// Ten KiB that all encoders of a thread share: a record is finished before the next is begun.
inline Scratch& thread_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

// Lines of one CRI stream that may be one record with the next: what they are without their
// headers.
struct CriGroup {
  std::shared_ptr<LineGroup> lines;  // null: every line is a record
  bool is_open = false;
  std::string text;
  std::size_t first_length = 0;
  std::uint32_t count = 0;
  std::string time;  // of the first line, as the generation and the offset
  std::uint64_t generation = 0;
  std::uint64_t offset = 0;
};

struct EncodeState {
  Format format = Format::Auto;  // as configured
  Format active = Format::Auto;  // what is used now; differs once auto has chosen
  TimeZone zone;
  Envelope envelope;
  bool is_cri = false;  // of streams with headers: CRI, or Docker
  bool is_docker = false;
  std::size_t line_bytes_max = 1u << 20;

  MinuteCache iso_minute;
  MinuteCache clf_minute;
  MinuteCache cri_minute;
  MinuteCache spelled_minute;      // of times in other spellings, see spelled_time.h
  std::uint8_t time_spelling = 0;  // the one that fitted last
  std::int64_t observed_unix = 0;  // seconds; when the chunk was read
  std::int64_t observed_ns = 0;
  std::int64_t last_unix_minute = 0;
  std::uint64_t reserved_keys[4] = {};  // Bloom filter of the names that are ours

  // Of the configured format, see layout.h, regex_format.h and kernel_columns.h.
  std::shared_ptr<const Layout> layout;
  std::shared_ptr<RegexFormat> regex;
  std::vector<std::string> columns;
  Format last_layout = Format::Auto;  // the one that `auto` found last
  std::size_t names_bytes = 0;        // room that the format's field names may take in a record
  // Of lines with a time in seconds among their first words: the word, of this line and the next.
  std::int8_t epoch_column = -1;
  std::int8_t next_epoch_column = -1;

  char observed[32] = {};  // when the chunk was read, "2024-01-15T14:32:01.123Z"
  std::uint32_t observed_length = 0;

  std::uint32_t votes[kFormatCount] = {};
  std::uint32_t vote_count = 0;
  bool has_chosen = false;  // auto has just pinned a format; the caller says so and clears it

  DockerLine docker;
  // CRI: of the line at hand, and the joined partial lines per stream (0 stdout, 1 stderr).
  std::string_view cri_time;
  std::string_view cri_stream;
  std::uint64_t cri_generation = 0;
  bool has_cri = false;
  std::string cri_joined[2];
  std::string cri_joined_time[2];
  std::uint64_t cri_joined_offset[2] = {};
  bool cri_is_joining[2] = {};

  // Records of several lines, see line_groups.h. Of a source that is not CRI, a group is read as a
  // whole, or again when more of it has come.
  std::shared_ptr<LineGroup> group;  // null: every line is a record
  bool ends_groups = false;          // nothing more comes: the last lines are a whole group
  CriGroup cri_groups[2];            // per stream
  std::string_view further_lines;    // of the record at hand, behind its first line

  std::shared_ptr<FieldRules> field_rules;  // null without rules
  std::shared_ptr<RecordFilter> filter;     // null when every record is wanted

  EncodeCounters counters;
  Scratch& scratch = thread_scratch();
};

}  // namespace pillion::logs
