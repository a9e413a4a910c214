// From bytes to records: lines, CRI headers, choice of parser, one JSON object per line. The top of
// the encoder's inner loops, see kernel_scan.h.
#pragma once

#include "adapters/logs/encode/field_rules.h"
#include "adapters/logs/encode/kernel_clf.h"
#include "adapters/logs/encode/kernel_columns.h"
#include "adapters/logs/encode/kernel_json.h"
#include "adapters/logs/encode/kernel_pairs.h"
#include "adapters/logs/encode/kernel_timed.h"
#include "adapters/logs/encode/line_groups.h"
#include "adapters/logs/encode/named_layouts.h"
#include "adapters/logs/encode/record_filter.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

inline constexpr std::uint32_t kVotesToChoose = 64;

inline char* parse_raw(EncodeState& state, char* out, const char* p, const char* end) {
  add_piece(state.scratch, {p, end, Text::Raw});
  return put_message(state, out);
}

// A logfmt line by itself must start with a pair and have two: prose with a stray "a=b" is not one.
inline char* parse_certain_logfmt(EncodeState& state, char* out, const char* p, const char* end) {
  std::uint32_t pairs = 0;
  out = put_pairs(state, out, p, end, pairs);
  const Scratch& record = state.scratch;
  const bool starts_with_text = record.piece_count > 0 && record.pieces[0].begin == p;
  return pairs < 2 || starts_with_text ? nullptr : put_message(state, out);
}

// The first of `layouts` that the line fits; null when there is none. `begin` is where the record
// begins, for a fresh start with each.
inline char* parse_layouts(EncodeState& state, char* const begin, const char* p, const char* end,
                           std::uint64_t offset, const std::vector<Layout>& layouts) {
  for (const Layout& layout : layouts) {
    char* const body = begin_record(state, begin, offset);
    if (char* const out = LayoutWalk(state, layout, body, p, end).run()) return out;
  }
  return nullptr;
}

// The format of the last line is tried first, then the others in their order.
inline char* parse_named_layouts(EncodeState& state, char* const begin, const char* p,
                                 const char* end, std::uint64_t offset, Format& detected) {
  const auto attempt = [&](Format format) {
    detected = format;
    return parse_layouts(state, begin, p, end, offset, named_layouts(format).certain);
  };
  const Format usual = state.last_layout;
  if (usual != Format::Auto) {
    if (char* const out = attempt(usual)) return out;
  }
  for (const Format format : detectable_layouts()) {
    if (format == usual) continue;
    if (char* const out = attempt(format)) {
      state.last_layout = format;
      return out;
    }
  }
  return nullptr;
}

// Tries the formats that the line's first byte allows. Always succeeds: a line of no format is raw.
inline char* parse_detected(EncodeState& state, char* const begin, const char* p, const char* end,
                            std::uint64_t offset, Format& detected) {
  const auto attempt = [&](Format format, auto parse) {
    char* const body = begin_record(state, begin, offset);
    detected = format;
    return parse(state, body, p, end);
  };
  const char* const first = skip_blanks(p, end);
  const char c = first < end ? *first : ' ';
  char* out = nullptr;
  if (c == '{') out = attempt(Format::Json, parse_json);
  if (out == nullptr && c != '{' && c != '[') out = attempt(Format::Clf, parse_clf);
  if (out == nullptr && (is_digit(c) || is_alpha(c) || c == '[' || c == '<')) {
    out = parse_named_layouts(state, begin, first, end, offset, detected);
  }
  if (out == nullptr && (is_digit(c) || c == '[')) {
    out = attempt(Format::PrefixedLogfmt, parse_prefixed);
  }
  if (out == nullptr) out = attempt(Format::Logfmt, parse_certain_logfmt);
  if (out == nullptr) out = attempt(Format::Timed, parse_timed);
  if (out == nullptr) out = attempt(Format::Raw, parse_raw);
  state.scratch.failure = nullptr;
  return out;
}

// One format for the whole file when it is right for nearly every line so far; else line by line.
inline void vote(EncodeState& state, Format format) {
  ++state.votes[static_cast<std::size_t>(format)];
  if (++state.vote_count < kVotesToChoose) return;
  Format best = Format::Raw;
  for (std::size_t i = 0; i < kFormatCount; ++i) {
    if (state.votes[i] > state.votes[static_cast<std::size_t>(best)]) best = static_cast<Format>(i);
  }
  const std::uint32_t needed = best == Format::Raw ? kVotesToChoose : kVotesToChoose * 9 / 10;
  state.active = state.votes[static_cast<std::size_t>(best)] >= needed ? best : Format::Mixed;
  state.has_chosen = true;
}

// Formats whose parser is chosen line by line from `state.active`.
inline bool is_of_columns(Format format) {
  return format == Format::Csv || format == Format::Ltsv || format == Format::KeyValue ||
         format == Format::Regex;
}

// Pattern stands for every format that is neither one with a kernel of its own nor one of columns.
inline char* parse_by_layout(EncodeState& state, char* const begin, const char* p, const char* end,
                             std::uint64_t offset) {
  char* out = nullptr;
  if (state.active == Format::Pattern) {
    out = LayoutWalk(state, *state.layout, begin_record(state, begin, offset), p, end).run();
  } else {
    out = parse_layouts(state, begin, p, end, offset, named_layouts(state.active).all);
  }
  if (out == nullptr) state.scratch.failure = "not of the format";
  return out;
}

inline char* parse_columns(EncodeState& state, char* out, const char* p, const char* end) {
  switch (state.active) {
    case Format::Csv: return parse_csv(state, out, p, end);
    case Format::Ltsv: return parse_ltsv(state, out, p, end);
    case Format::KeyValue: return parse_key_value(state, out, p, end);
    default: return parse_regex(state, out, p, end);
  }
}

template<Format F>
inline char* parse_line(EncodeState& state, char* const begin, const char* p, const char* end,
                        std::uint64_t offset) {
  if constexpr (F == Format::Pattern) return parse_by_layout(state, begin, p, end, offset);
  char* const out = begin_record(state, begin, offset);
  if constexpr (F == Format::Csv) return parse_columns(state, out, p, end);
  if constexpr (F == Format::Timed) return parse_timed(state, out, p, end);
  if constexpr (F == Format::Json) return parse_json(state, out, p, end);
  if constexpr (F == Format::Logfmt) return parse_logfmt(state, out, p, end);
  if constexpr (F == Format::PrefixedLogfmt) return parse_prefixed(state, out, p, end);
  if constexpr (F == Format::Clf) return parse_clf(state, out, p, end);
  if constexpr (F == Format::Raw) return parse_raw(state, out, p, end);
}

// Where to cut a text of more than `max` bytes: not inside a UTF-8 sequence.
inline const char* cut(const char* p, std::size_t max) {
  const char* q = p + max;
  for (int i = 0; i < 3 && q > p && (static_cast<unsigned char>(*q) & 0xc0) == 0x80; ++i) --q;
  return q;
}

// The record of [begin, end), not yet ended in the buffer, after the rules for fields.
__attribute__((noinline)) inline char* apply_field_rules(EncodeState& state, const char* begin,
                                                         const char* end, RecordBuffer& buffer) {
  const std::string_view ruled =
      state.field_rules->apply({begin, static_cast<std::size_t>(end - begin)}, state);
  char* const place = buffer.reserve(ruled.size());
  std::memcpy(place, ruled.data(), ruled.size());
  return place + ruled.size();
}

// Whether the record that ends at `end`, not yet ended in the buffer, is wanted.
__attribute__((noinline)) inline bool passes_filter(EncodeState& state, const char* end,
                                                    RecordBuffer& buffer) {
  const char* const begin = buffer.reserve(0);
  const bool is_wanted =
      state.filter->passes({begin, static_cast<std::size_t>(end - begin)}, state.observed_ns);
  if (!is_wanted) {
    ++state.counters.filtered;
    state.scratch.is_truncated = false;
  }
  return is_wanted;
}

template<Format F>
inline void encode_record(EncodeState& state, const char* p, const char* end, std::uint64_t offset,
                          RecordBuffer& buffer) {
  Scratch& record = state.scratch;
  ++state.counters.lines;
  if (p == end) return;
  const std::string_view further = state.further_lines;
  const char* const whole_end = further.empty() ? end : further.data() + further.size();
  if (static_cast<std::size_t>(end - p) > state.line_bytes_max) {
    end = cut(p, state.line_bytes_max);
    record.is_truncated = true;
  }
  const auto length = static_cast<std::size_t>((further.empty() ? end : whole_end) - p);
  const Envelope& envelope = state.envelope;
  char* const begin =
      buffer.reserve(length * 8 + (envelope.has_original ? length * 6 : 0) + 2048 +
                     envelope.tail.size() + envelope.record_prefix.size() + state.names_bytes);
  char* out;
  if constexpr (F == Format::Auto || F == Format::Mixed) {
    Format detected = Format::Raw;
    out = parse_detected(state, begin, p, end, offset, detected);
    record.detected = detected;
    if constexpr (F == Format::Auto) vote(state, detected);
  } else {
    out = parse_line<F>(state, begin, p, end, offset);
    if (out == nullptr) {  // the whole line goes out as it is, marked
      const char* const failure = record.failure;
      out = parse_raw(state, begin_record(state, begin, offset), p, end);
      record.failure = failure;
      ++state.counters.parse_failures;
    }
  }
  out = end_record(state, out, {p, length}, offset);
  if (state.field_rules != nullptr) out = apply_field_rules(state, begin, out, buffer);
  if (state.filter != nullptr && !passes_filter(state, out, buffer)) return;
  buffer.end_record(out);
  ++state.counters.records;
  state.counters.truncated += record.is_truncated;
  state.counters.partial += record.is_partial;
  record.is_truncated = false;
}

// `2024-01-15T14:32:01.123456789Z stdout F:g3 the line`: what container runtimes and our supervisor
// write. Returns the start of the content, null when the line has no such header.
inline const char* read_cri_header(EncodeState& state, const char* p, const char* end,
                                   bool& is_partial) {
  const auto word_end = [&](const char* q) {
    while (q < end && *q != ' ') ++q;
    return q;
  };
  const char* const time_end = word_end(p);
  if (time_end == end || time_end - p > 40) return nullptr;
  const char* const stream = time_end + 1;
  const char* const stream_end = word_end(stream);
  const bool is_known = equal(stream, static_cast<std::size_t>(stream_end - stream), "stdout", 6) ||
                        equal(stream, static_cast<std::size_t>(stream_end - stream), "stderr", 6);
  if (stream_end == end || !is_known) return nullptr;
  const char* const tags = stream_end + 1;
  const char* const tags_end = word_end(tags);
  if (tags == tags_end || (*tags != 'F' && *tags != 'P')) return nullptr;
  state.cri_time = {p, static_cast<std::size_t>(time_end - p)};
  state.cri_stream = {stream, static_cast<std::size_t>(stream_end - stream)};
  state.cri_generation = 0;
  if (tags_end - tags >= 4 && tags[1] == ':' && tags[2] == 'g') {
    for (const char* q = tags + 3; q < tags_end && is_digit(*q); ++q) {
      state.cri_generation = state.cri_generation * 10 + static_cast<std::uint64_t>(*q - '0');
    }
  }
  is_partial = *tags == 'P';
  return tags_end == end ? end : tags_end + 1;
}

inline std::string_view without_final_blanks(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// Writes the record of the lines gathered from one CRI stream.
template<Format F>
inline void flush_cri_group(EncodeState& state, std::size_t stream, RecordBuffer& buffer) {
  CriGroup& group = state.cri_groups[stream];
  if (!group.is_open) return;
  group.is_open = false;
  const auto time = std::exchange(state.cri_time, group.time);
  const auto name = std::exchange(state.cri_stream, stream == 1 ? "stderr" : "stdout");
  const auto generation = std::exchange(state.cri_generation, group.generation);
  const bool had_cri = std::exchange(state.has_cri, true);
  group.text.reserve(group.text.size() + kScanPadding);
  const char* const begin = group.text.data();
  const char* const end = begin + group.first_length;
  if (group.count > 1) {
    state.further_lines =
        without_final_blanks({end + 1, group.text.size() - group.first_length - 1});
  }
  encode_record<F>(state, begin, end, group.offset, buffer);
  state.counters.lines += group.count - 1;
  state.further_lines = {};
  state.cri_time = time;
  state.cri_stream = name;
  state.cri_generation = generation;
  state.has_cri = had_cri;
}

// A whole line of a CRI stream, without its header.
template<Format F>
inline void encode_cri_content(EncodeState& state, std::size_t stream, const char* p,
                               const char* end, std::uint64_t offset, RecordBuffer& buffer) {
  CriGroup& group = state.cri_groups[stream];
  if (!group.lines) {
    encode_record<F>(state, p, end, offset, buffer);
    return;
  }
  const std::string_view line(p, static_cast<std::size_t>(end - p));
  const GroupRules& rules = group.lines->rules();
  if (group.is_open && group.count < rules.lines_max &&
      group.text.size() + 1 + line.size() <= rules.bytes_max && group.lines->continues(line)) {
    group.text += '\n';
    group.text += line;
    ++group.count;
    return;
  }
  flush_cri_group<F>(state, stream, buffer);
  if (line.empty()) {
    ++state.counters.lines;
    return;
  }
  group.lines->begin(line);
  group.is_open = true;
  group.text = line;
  group.first_length = line.size();
  group.count = 1;
  group.time = state.cri_time;
  group.generation = state.cri_generation;
  group.offset = offset;
}

// A line or part of one of a CRI stream, [p, end) without its header. Parts wait for the last.
template<Format F>
inline void encode_cri_part(EncodeState& state, const char* p, const char* end, bool is_partial,
                            std::uint64_t offset, RecordBuffer& buffer) {
  const std::size_t stream = state.cri_stream == "stderr" ? 1 : 0;
  std::string& joined = state.cri_joined[stream];
  if (!is_partial && !state.cri_is_joining[stream]) {
    encode_cri_content<F>(state, stream, p, end, offset, buffer);
    return;
  }
  if (!state.cri_is_joining[stream]) {
    state.cri_is_joining[stream] = true;
    state.cri_joined_offset[stream] = offset;
    state.cri_joined_time[stream].assign(state.cri_time.data(), state.cri_time.size());
    joined.clear();
  }
  // One byte more than a line may have, so that encode_record sees that it must cut.
  const std::size_t room = state.line_bytes_max + 1 - joined.size();
  const auto length = static_cast<std::size_t>(end - p);
  joined.append(p, length < room ? length : room);
  if (is_partial) return;
  state.cri_is_joining[stream] = false;
  joined.reserve(joined.size() + kScanPadding);
  encode_cri_content<F>(state, stream, joined.data(), joined.data() + joined.size(),
                        state.cri_joined_offset[stream], buffer);
}

template<Format F>
inline void encode_cri_line(EncodeState& state, const char* p, const char* end,
                            std::uint64_t offset, RecordBuffer& buffer) {
  bool is_partial = false;
  const char* content = nullptr;
  if (state.is_docker) {
    DockerLine& docker = state.docker;
    if (read_docker_line({p, static_cast<std::size_t>(end - p)}, docker)) {
      state.cri_time = docker.time;
      state.cri_stream = docker.stream;
      state.cri_generation = 0;
      is_partial = docker.is_partial;
      content = docker.text.data();
      end = content + docker.text.size();
    }
  } else {
    content = read_cri_header(state, p, end, is_partial);
  }
  state.has_cri = content != nullptr;
  if (content != nullptr) {
    encode_cri_part<F>(state, content, end, is_partial, offset, buffer);
  } else {
    encode_record<F>(state, p, end, offset, buffer);
  }
}

template<Format F>
inline void encode_line(EncodeState& state, const char* p, const char* end, std::uint64_t offset,
                        RecordBuffer& buffer) {
  if (end > p && end[-1] == '\r') --end;
  if (state.is_cri) {
    encode_cri_line<F>(state, p, end, offset, buffer);
  } else {
    encode_record<F>(state, p, end, offset, buffer);
  }
}

// The end of the group of lines whose first one is [p, first_end): behind its last newline. Null
// while the next line may belong to it and has not come yet.
inline const char* find_group_end(const EncodeState& state, const char* p, const char* first_end,
                                  const char* end) {
  LineGroup& group = *state.group;
  const GroupRules& rules = group.rules();
  group.begin({p, static_cast<std::size_t>(first_end - p)});
  const char* behind = first_end + 1;
  for (std::uint32_t count = 1; count < rules.lines_max; ++count) {
    const void* const found = std::memchr(behind, '\n', static_cast<std::size_t>(end - behind));
    const char* const newline = found == nullptr ? end : static_cast<const char*>(found);
    if (static_cast<std::size_t>(newline - p) > rules.bytes_max) break;
    if (found == nullptr) return state.ends_groups ? behind : nullptr;
    if (!group.continues({behind, static_cast<std::size_t>(newline - behind)})) break;
    behind = newline + 1;
  }
  return behind;
}

template<Format F>
inline const char* encode_groups_of(EncodeState& state, const char* const begin, const char* end,
                                    std::uint64_t offset, RecordBuffer& buffer,
                                    std::size_t buffer_bytes_max) {
  const char* p = begin;
  const Format started = state.active;
  while (p < end && state.active == started && buffer.size() < buffer_bytes_max) {
    const void* const found = std::memchr(p, '\n', static_cast<std::size_t>(end - p));
    if (found == nullptr) break;
    const char* const newline = static_cast<const char*>(found);
    const char* const line_end = newline > p && newline[-1] == '\r' ? newline - 1 : newline;
    const char* behind = newline + 1;
    if (line_end > p) {
      behind = find_group_end(state, p, newline, end);
      if (behind == nullptr) break;
      state.further_lines =
          without_final_blanks({newline + 1, static_cast<std::size_t>(behind - newline - 1)});
    }
    encode_record<F>(state, p, line_end, offset + static_cast<std::uint64_t>(p - begin), buffer);
    state.further_lines = {};
    p = behind;
  }
  return p;
}

template<Format F>
inline const char* encode_lines_of(EncodeState& state, const char* const begin, const char* end,
                                   std::uint64_t offset, RecordBuffer& buffer,
                                   std::size_t buffer_bytes_max) {
  const char* p = begin;
  const Format started = state.active;
  while (p < end && state.active == started && buffer.size() < buffer_bytes_max) {
    const void* const found = std::memchr(p, '\n', static_cast<std::size_t>(end - p));
    if (found == nullptr) break;
    const char* const newline = static_cast<const char*>(found);
    encode_line<F>(state, p, newline, offset + static_cast<std::uint64_t>(p - begin), buffer);
    p = newline + 1;
  }
  return p;
}

// Calls `act` with the format whose inner loop the active one uses.
template<class Act>
inline auto with_format(Format active, const Act& act) {
  switch (active) {
    case Format::Auto: return act.template operator()<Format::Auto>();
    case Format::Mixed: return act.template operator()<Format::Mixed>();
    case Format::Raw: return act.template operator()<Format::Raw>();
    case Format::Json: return act.template operator()<Format::Json>();
    case Format::Logfmt: return act.template operator()<Format::Logfmt>();
    case Format::PrefixedLogfmt: return act.template operator()<Format::PrefixedLogfmt>();
    case Format::Clf: return act.template operator()<Format::Clf>();
    case Format::Timed: return act.template operator()<Format::Timed>();
    default: break;
  }
  return is_of_columns(active) ? act.template operator()<Format::Csv>()
                               : act.template operator()<Format::Pattern>();
}

inline const char* encode_lines(EncodeState& state, const char* begin, const char* end,
                                std::uint64_t offset, RecordBuffer& buffer,
                                std::size_t buffer_bytes_max) {
  return with_format(state.active, [&]<Format F>() {
    return state.group ? encode_groups_of<F>(state, begin, end, offset, buffer, buffer_bytes_max)
                       : encode_lines_of<F>(state, begin, end, offset, buffer, buffer_bytes_max);
  });
}

inline void flush_groups(EncodeState& state, RecordBuffer& buffer) {
  for (std::size_t stream = 0; stream < 2; ++stream) {
    with_format(state.active, [&]<Format F>() { flush_cri_group<F>(state, stream, buffer); });
  }
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
