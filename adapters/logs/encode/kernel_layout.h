// Walks a compiled layout over a line. Part of the encoder's inner loops, see kernel_scan.h.
#pragma once

#include "adapters/logs/encode/kernel_pairs.h"
#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/spelled_time.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

// One line on its way through one layout; every step returns false when the line does not fit.
class LayoutWalk {
 public:
  LayoutWalk(EncodeState& state, const Layout& layout, char* out, const char* p, const char* end)
      : state_(state), steps_(layout.steps), out_(out), p_(p), end_(end) {}

  // The end of what was written, null when the line is not of the layout.
  char* run() {
    std::size_t at = 0;
    Checkpoint before_group;
    std::size_t behind_group = 0;
    while (at < steps_.size()) {
      const LayoutStep& step = steps_[at];
      if (step.kind == StepKind::Group) {
        before_group = save();
        behind_group = step.skip_to;
        ++at;
      } else if (step.kind == StepKind::EndGroup) {
        behind_group = 0;
        ++at;
      } else if (take(step, at)) {
        ++at;
      } else if (behind_group != 0) {
        restore(before_group);
        at = behind_group;
        behind_group = 0;
      } else {
        return nullptr;
      }
    }
    p_ = skip_blanks(p_, end_);
    return p_ == end_ ? put_message(state_, out_) : nullptr;
  }

 private:
  struct Checkpoint {
    char* out;
    const char* p;
    std::uint64_t seen[4];
    std::uint32_t key_count;
    std::uint32_t piece_count;
    std::uint32_t envelope_skip;
    bool has_time;
    bool has_level;
  };

  Checkpoint save() const {
    const Scratch& record = state_.scratch;
    Checkpoint saved;
    saved.out = out_;
    saved.p = p_;
    std::memcpy(saved.seen, record.seen, sizeof saved.seen);
    saved.key_count = record.key_count;
    saved.piece_count = record.piece_count;
    saved.envelope_skip = record.envelope_skip;
    saved.has_time = record.has_time;
    saved.has_level = record.has_level;
    return saved;
  }

  void restore(const Checkpoint& saved) {
    Scratch& record = state_.scratch;
    out_ = saved.out;
    p_ = saved.p;
    std::memcpy(record.seen, saved.seen, sizeof record.seen);
    record.key_count = saved.key_count;
    record.piece_count = saved.piece_count;
    record.envelope_skip = saved.envelope_skip;
    record.has_time = saved.has_time;
    record.has_level = saved.has_level;
  }

  bool take(const LayoutStep& step, std::size_t at) {
    switch (step.kind) {
      case StepKind::Literal: return take_literal(step, p_);
      case StepKind::Blanks: return take_blanks(p_);
      case StepKind::Time: return take_time(step);
      case StepKind::Zone: return take_zone();
      case StepKind::Level: return take_level(false);
      case StepKind::LetterLevel: return take_level(true);
      case StepKind::RedisLevel: return take_redis_level();
      case StepKind::Priority: return take_priority();
      case StepKind::Until: return take_until(step, at);
      case StepKind::Word: return take_word(step, [](char c) { return is_blank(c); });
      case StepKind::Tag: return take_word(step, is_tag_end);
      case StepKind::Logger: return take_logger(step);
      case StepKind::Number: return take_number(step);
      case StepKind::Quoted: return take_quoted(step);
      case StepKind::StructuredData: return take_structured_data(step);
      case StepKind::Rest: return take_rest(step);
      case StepKind::Pairs: return take_pairs();
      case StepKind::Group:
      case StepKind::EndGroup: return true;
    }
    return false;
  }

  static bool is_tag_end(char c) { return is_blank(c) || c == ':' || c == '['; }

  bool take_literal(const LayoutStep& step, const char*& p) const {
    const std::size_t length = step.text.size();
    if (static_cast<std::size_t>(end_ - p) < length ||
        std::memcmp(p, step.text.data(), length) != 0) {
      return false;
    }
    p += length;
    return true;
  }

  // At the end of the line a blank is satisfied: editors strip them.
  bool take_blanks(const char*& p) const {
    if (p == end_) return true;
    if (!is_blank(*p)) return false;
    p = skip_blanks(p, end_);
    return true;
  }

  bool take_time(const LayoutStep& step) {
    char* const begin = out_;
    char* out = put(out_, "\"@timestamp\":\"");
    const char* after = nullptr;
    if (!step.spelling) after = read_iso_time(state_, state_.iso_minute, p_, end_, out);
    if (after == nullptr) {
      out = put(begin, "\"@timestamp\":\"");
      after = read_spelled_time(state_, step.spelling, p_, end_, out);
    }
    if (after == nullptr) return false;
    p_ = after;
    // The first time is the record's.
    if (step.role == FieldRole::Skip || state_.scratch.has_time) return true;
    state_.scratch.has_time = true;
    out_ = put(out, "\",");
    return true;
  }

  bool take_zone() {
    const char* q = p_;
    while (q < end_ && *q >= 'A' && *q <= 'Z') ++q;
    if (q - p_ < 2 || q - p_ > 5) return false;
    p_ = q;
    return true;
  }

  bool take_level(bool is_letter) {
    const char* q = p_;
    while (q < end_ && (is_alpha(*q) || is_digit(*q))) ++q;
    if (is_letter && p_ < q) q = p_ + 1;
    const auto length = static_cast<std::size_t>(q - p_);
    const char* const level = is_letter ? level_of(p_, length, true) : level_of_word(p_, length);
    if (level == nullptr) return false;
    p_ = q;
    if (!state_.scratch.has_level) out_ = put_level(state_, out_, level);
    return true;
  }

  // What level_of knows, and the words of PostgreSQL, MySQL and java.util.logging.
  static const char* level_of_word(const char* word, std::size_t length) {
    if (const char* const level = level_of(word, length, false)) return level;
    struct Word {
      const char* text;
      const char* level;
    };
    static constexpr Word kWords[] = {
        {"log", "info"},       {"detail", "info"},   {"hint", "info"},    {"context", "info"},
        {"statement", "info"}, {"debug1", "debug"},  {"debug2", "debug"}, {"debug3", "debug"},
        {"debug4", "debug"},   {"debug5", "debug"},  {"system", "info"},  {"note", "notice"},
        {"config", "debug"},   {"verbose", "trace"},
    };
    for (const Word& known : kWords) {
      std::size_t i = 0;
      while (i < length && known.text[i] != 0 && (word[i] | 0x20) == (known.text[i] | 0x20)) ++i;
      if (i == length && known.text[i] == 0) return known.level;
    }
    return nullptr;
  }

  bool take_redis_level() {
    if (p_ == end_) return false;
    const char* level = nullptr;
    switch (*p_) {
      case '.': level = "debug"; break;
      case '-': level = "info"; break;
      case '*': level = "notice"; break;
      case '#': level = "warn"; break;
      default: return false;
    }
    ++p_;
    out_ = put_level(state_, out_, level);
    return true;
  }

  bool take_priority() {
    unsigned value = 0;
    const char* q = p_;
    while (q < end_ && q - p_ < 3 && is_digit(*q))
      value = value * 10 + static_cast<unsigned>(*q++ - '0');
    if (q == p_ || value > 191) return false;
    p_ = q;
    static constexpr const char* kLevels[] = {"fatal", "alert",  "critical", "error",
                                              "warn",  "notice", "info",     "debug"};
    if (!state_.scratch.has_level) out_ = put_level(state_, out_, kLevels[value & 7]);
    out_ = put(out_, "\"log.syslog.priority\":");
    out_ = put_number(out_, value);
    *out_++ = ',';
    return true;
  }

  // Where the literals and blanks from step `at` on match `p`.
  bool fits(std::size_t at, const char* p) const {
    for (; at < steps_.size(); ++at) {
      const LayoutStep& step = steps_[at];
      if (step.kind == StepKind::Literal) {
        if (!take_literal(step, p)) return false;
      } else if (step.kind == StepKind::Blanks) {
        if (!take_blanks(p)) return false;
      } else {
        return true;
      }
    }
    return true;
  }

  bool take_until(const LayoutStep& step, std::size_t at) {
    const LayoutStep& next = steps_[at + 1];
    const char first = next.kind == StepKind::Blanks ? ' ' : next.text[0];
    for (const char* q = p_; q < end_; ++q) {
      if (first == ' ') {
        while (q < end_ && !is_blank(*q)) ++q;
      } else {
        const void* const found = std::memchr(q, first, static_cast<std::size_t>(end_ - q));
        if (found == nullptr) return false;
        q = static_cast<const char*>(found);
      }
      if (!fits(at + 1, q)) continue;
      put_value(step, p_, q);
      p_ = q;
      return true;
    }
    return false;
  }

  template<class IsEnd>
  bool take_word(const LayoutStep& step, IsEnd is_end) {
    const char* q = p_;
    while (q < end_ && !is_end(*q)) ++q;
    if (q == p_) return false;
    put_value(step, p_, q);
    p_ = q;
    return true;
  }

  bool take_logger(const LayoutStep& step) {
    const char* q = p_;
    bool has_dot = false;
    for (; q < end_ && !is_tag_end(*q); ++q) has_dot = has_dot || *q == '.';
    if (!has_dot || q == p_) return false;
    put_value(step, p_, q);
    p_ = q;
    return true;
  }

  bool take_number(const LayoutStep& step) {
    const char* q = p_;
    if (q < end_ && *q == '-') ++q;
    const char* const digits = q;
    while (q < end_ && is_digit(*q)) ++q;
    if (q == digits) return false;
    if (end_ - q >= 2 && *q == '.' && is_digit(q[1])) {
      ++q;
      while (q < end_ && is_digit(*q)) ++q;
    }
    put_value(step, p_, q);
    p_ = q;
    return true;
  }

  bool take_quoted(const LayoutStep& step) {
    if (p_ == end_ || *p_ != '"') return take_word(step, [](char c) { return is_blank(c); });
    const char* const begin = p_ + 1;
    if (!skip_quoted()) return false;
    put_text_value(step, {begin, p_ - 1, Text::Backslash});
    return true;
  }

  // "-", or elements [id name="value" …], back to back.
  bool take_structured_data(const LayoutStep& step) {
    if (p_ < end_ && *p_ == '-') {
      ++p_;
      return true;
    }
    if (p_ == end_ || *p_ != '[') return false;
    while (p_ < end_ && *p_ == '[') {
      const char* const id = ++p_;
      const char* const id_end = name_end(id);
      if (id_end == id) return false;
      p_ = id_end;
      while (p_ < end_ && *p_ == ' ') {
        ++p_;
        if (!take_parameter(step, id, id_end)) return false;
      }
      if (p_ == end_ || *p_ != ']') return false;
      ++p_;
    }
    return true;
  }

  const char* name_end(const char* q) const {
    while (q < end_ && *q != ' ' && *q != '=' && *q != ']' && *q != '"' && *q != '\\') ++q;
    return q;
  }

  bool take_parameter(const LayoutStep& step, const char* id, const char* id_end) {
    const char* const name = p_;
    const char* const stop = name_end(name);
    if (stop == name || end_ - stop < 2 || stop[0] != '=' || stop[1] != '"') return false;
    p_ = stop + 1;
    const char* const key = out_ + 1;
    const auto room = kKeyBytesMax;
    if (step.text.size() + static_cast<std::size_t>((id_end - id) + (stop - name)) + 2 > room ||
        state_.scratch.key_count + 1 >= kFieldsMax) {
      return skip_quoted();
    }
    *out_ = '"';
    char* out = put(out_ + 1, step.text.data(), step.text.size());
    *out++ = '.';
    out = put(out, id, static_cast<std::size_t>(id_end - id));
    *out++ = '.';
    out = put(out, name, static_cast<std::size_t>(stop - name));
    while (is_written(state_.scratch, key, static_cast<std::size_t>(out - key)))
      out = put(out, "_2");
    char* const value = put_mended_key(state_, out_, static_cast<std::size_t>(out - key));
    const char* const begin = p_ + 1;
    if (!skip_quoted()) return false;
    out_ = put_string(state_, value, {begin, p_ - 1, Text::Backslash});
    return true;
  }

  // From a quote to behind the one that closes it.
  bool skip_quoted() {
    for (const char* q = p_ + 1; q < end_; ++q) {
      if (*q == '\\') {
        ++q;
      } else if (*q == '"') {
        p_ = q + 1;
        return true;
      }
    }
    return false;
  }

  bool take_rest(const LayoutStep& step) {
    const char* const begin = skip_blanks(p_, end_);
    if (begin < end_) put_value(step, begin, end_);
    p_ = end_;
    return true;
  }

  bool take_pairs() {
    std::uint32_t pairs = 0;
    out_ = put_pairs(state_, out_, p_, end_, pairs);
    p_ = end_;
    return true;
  }

  void put_value(const LayoutStep& step, const char* begin, const char* end) {
    if (step.role == FieldRole::Skip) return;
    while (end > begin && is_blank(end[-1])) --end;
    while (begin < end && is_blank(*begin)) ++begin;
    if (step.role == FieldRole::Message) {
      if (begin < end) add_piece(state_.scratch, {begin, end, Text::Raw});
      return;
    }
    if (begin == end || (end - begin == 1 && *begin == '-')) return;
    if (is_plain_number(begin, end)) {
      out_ = put_key(state_, out_, step.text.data(), step.text.size());
      out_ = put_clean(out_, begin, end);
      *out_++ = ',';
      return;
    }
    put_text_value(step, {begin, end, Text::Raw});
  }

  void put_text_value(const LayoutStep& step, const Piece& piece) {
    if (step.role == FieldRole::Skip) return;
    if (step.role == FieldRole::Message) {
      if (piece.begin < piece.end) add_piece(state_.scratch, piece);
      return;
    }
    if (piece.end - piece.begin == 1 && *piece.begin == '-') return;
    out_ = put_key(state_, out_, step.text.data(), step.text.size());
    out_ = put_string(state_, out_, piece);
  }

  EncodeState& state_;
  const std::vector<LayoutStep>& steps_;
  char* out_;
  const char* p_;
  const char* end_;
};

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
