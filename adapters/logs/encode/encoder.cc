#include "adapters/logs/encode/encoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/regex_format.h"
#include "adapters/logs/encode/timestamp.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

void reserve_key(EncodeState& state, std::string_view key) {
  char padded[8] = {};
  std::memcpy(padded, key.data(), std::min(key.size(), sizeof padded));
  const std::uint32_t bucket = key_bucket(padded, key.size());
  state.reserved_keys[bucket >> 6] |= std::uint64_t{1} << (bucket & 63);
}

void reserve_own_keys(EncodeState& state) {
  for (const std::string_view key : {"@timestamp", "log.level", "message", "log.flags"}) {
    reserve_key(state, key);
  }
  const Envelope& envelope = state.envelope;
  if (envelope.has_offset) reserve_key(state, "log.offset");
  if (envelope.has_created) reserve_key(state, "event.created");
  if (envelope.has_original) reserve_key(state, "event.original");
  if (state.is_cri) {
    reserve_key(state, "stream");
    reserve_key(state, "pillion.generation");
  }
  for (const auto& entry : envelope.entries) reserve_key(state, entry.key);
}

// A field takes its name, quotes, colon and comma; a repeated one a suffix.
std::size_t names_bytes(const EncodeState& state) {
  // Structured data repeats its element's name for each parameter.
  const bool has_structured_data =
      state.format == Format::Auto || state.format == Format::Syslog5424 || state.layout;
  std::size_t bytes = has_structured_data ? kFieldsMax * (kKeyBytesMax + 16) : 0;
  const auto add = [&](std::size_t name_bytes) { bytes += name_bytes + 16; };
  if (state.layout) {
    for (const LayoutStep& step : state.layout->steps) add(step.text.size());
  }
  if (state.regex) {
    for (const auto& group : state.regex->groups()) add(group.name.size());
  }
  for (const std::string& column : state.columns) add(column.size());
  return bytes;
}

}  // namespace

void Envelope::add(std::string_view key, std::string_view value) {
  std::string rendered;
  append_json_string(rendered, key);
  rendered += ':';
  append_json_string(rendered, value);
  rendered += ',';
  const auto same = std::find_if(entries.begin(), entries.end(),
                                 [&](const Entry& entry) { return entry.key == key; });
  if (same != entries.end()) {
    same->rendered = std::move(rendered);
  } else if (entries.size() < kEntriesMax) {
    entries.push_back({std::string(key), std::move(rendered)});
  }
  tail.clear();
  for (const auto& entry : entries) tail += entry.rendered;
}

void RecordBuffer::grow(std::size_t bytes) {
  const std::size_t capacity = std::max({capacity_ * 2, size_ + bytes, std::size_t{64} << 10});
  std::unique_ptr<char[]> larger(new char[capacity]);
  if (size_ > 0) std::memcpy(larger.get(), data_.get(), size_);
  data_ = std::move(larger);
  capacity_ = capacity;
}

void RecordBuffer::grow_ends() {
  const std::size_t capacity = std::max(record_capacity_ * 2, std::size_t{256});
  std::unique_ptr<std::uint32_t[]> larger(new std::uint32_t[capacity]);
  if (record_count_ > 0) {
    std::memcpy(larger.get(), record_ends_.get(), record_count_ * sizeof(std::uint32_t));
  }
  record_ends_ = std::move(larger);
  record_capacity_ = capacity;
}

const Kernel& kernel_for_this_cpu() {
#if defined(PILLION_LOGS_HAS_AVX2)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                               __builtin_cpu_supports("bmi2");
  if (has_avx2) return kAvx2Kernel;
#endif
  return kBaselineKernel;
}

Encoder::Encoder(EncoderOptions options, const Kernel& kernel) : kernel_(kernel) {
  state_.format = state_.active = options.format;
  state_.layout = std::move(options.layout);
  state_.regex = std::move(options.regex);
  state_.columns = std::move(options.columns);
  for (std::string& column : state_.columns) column.reserve(column.size() + kScanPadding);
  state_.names_bytes = names_bytes(state_);
  state_.is_docker = options.is_docker;
  state_.is_cri = options.is_cri || options.is_docker;
  if (options.groups && state_.is_cri) {
    for (CriGroup& group : state_.cri_groups) {
      group.lines = std::make_shared<LineGroup>(*options.groups);
    }
  } else if (options.groups) {
    state_.group = std::make_shared<LineGroup>(*options.groups);
  }
  state_.zone = std::move(options.zone);
  state_.envelope = std::move(options.envelope);
  const FieldRulesOptions& rules = options.field_rules;
  if (!rules.is_empty()) {
    state_.field_rules = std::make_shared<FieldRules>(rules);
  }
  state_.filter = std::move(options.filter);
  state_.line_bytes_max = options.line_bytes_max;
  state_.scratch.is_truncated = state_.scratch.is_partial = false;
  state_.scratch.detected = Format::Raw;
  reserve_own_keys(state_);
  set_observed_time(0);
}

void Encoder::set_observed_time(std::int64_t unix_nanoseconds) {
  state_.observed_ns = unix_nanoseconds;
  state_.observed_unix = unix_nanoseconds / 1'000'000'000;
  state_.observed_length =
      static_cast<std::uint32_t>(render_wall_time(unix_nanoseconds, state_.observed));
}

std::size_t Encoder::encode(std::string_view chunk, std::uint64_t offset, RecordBuffer& buffer,
                            std::size_t buffer_bytes_max) {
  const char* const end = chunk.data() + chunk.size();
  const char* p = chunk.data();
  for (;;) {  // again when `auto` has chosen on the way
    const Format before = state_.active;
    p = kernel_.encode_lines(state_, p, end, offset + static_cast<std::uint64_t>(p - chunk.data()),
                             buffer, buffer_bytes_max);
    if (state_.active == before) return static_cast<std::size_t>(p - chunk.data());
  }
}

std::size_t Encoder::encode_rest(std::string_view chunk, std::uint64_t offset, RecordBuffer& buffer,
                                 std::size_t buffer_bytes_max) {
  state_.ends_groups = true;
  const std::size_t taken = encode(chunk, offset, buffer, buffer_bytes_max);
  state_.ends_groups = false;
  return taken;
}

void Encoder::encode_unfinished(std::string_view line, std::uint64_t offset, RecordBuffer& buffer) {
  state_.scratch.is_partial = line.size() <= state_.line_bytes_max;
  std::string finished;
  finished.reserve(line.size() + 1 + kScanPadding);
  finished.append(line).push_back('\n');
  encode_rest(finished, offset, buffer);
  kernel_.flush_groups(state_, buffer);
  state_.scratch.is_partial = false;
}

void Encoder::flush_groups(RecordBuffer& buffer) { kernel_.flush_groups(state_, buffer); }

void Encoder::flush_joined(RecordBuffer& buffer) {
  flush_groups(buffer);
  const bool is_docker = std::exchange(state_.is_docker, false);  // written out as CRI below
  for (std::size_t stream = 0; stream < 2; ++stream) {
    if (!state_.cri_is_joining[stream]) continue;
    state_.cri_is_joining[stream] = false;
    std::string line = state_.cri_joined_time[stream];
    line += stream == 0 ? " stdout F " : " stderr F ";
    line += state_.cri_joined[stream];
    encode_unfinished(line, state_.cri_joined_offset[stream], buffer);
  }
  state_.is_docker = is_docker;
}

std::uint64_t Encoder::safe_offset(std::uint64_t offset) const {
  for (std::size_t stream = 0; stream < 2; ++stream) {
    if (state_.cri_is_joining[stream]) offset = std::min(offset, state_.cri_joined_offset[stream]);
    const CriGroup& group = state_.cri_groups[stream];
    if (group.is_open) offset = std::min(offset, group.offset);
  }
  return offset;
}

void Encoder::set_document_id(std::uint64_t identity) {
  if (state_.envelope.id_base.empty()) return;
  state_.envelope.id_prefix = fmt::format("{}{:016x}-", state_.envelope.id_base, identity);
}

std::string Encoder::take_choice() {
  if (!std::exchange(state_.has_chosen, false)) return {};
  if (state_.active == Format::Mixed) return "mixed (no one format fits; each line by its own)";
  return std::string(name_of(state_.active)) + " (" +
         std::to_string(state_.votes[static_cast<std::size_t>(state_.active)]) + " of " +
         std::to_string(state_.vote_count) + " lines)";
}

}  // namespace pillion::logs
