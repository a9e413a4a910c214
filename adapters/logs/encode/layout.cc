#include "adapters/logs/encode/layout.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace pillion::logs {
namespace {

constexpr std::size_t kStepsMax = 200;

struct TypeName {
  std::string_view name;
  StepKind kind;
};
constexpr TypeName kTypes[] = {
    {"word", StepKind::Word},         {"tag", StepKind::Tag},       {"logger", StepKind::Logger},
    {"number", StepKind::Number},     {"quoted", StepKind::Quoted}, {"rest", StepKind::Rest},
    {"sd", StepKind::StructuredData},
};

class Compiler {
 public:
  explicit Compiler(std::string_view text) : text_(text) {}

  Result<Layout> run() {
    while (at_ < text_.size()) {
      auto done = read_one();
      if (!done) return fail(done.error());
      if (layout_.steps.size() > kStepsMax) {
        return fail(fmt::format("longer than {} parts", kStepsMax));
      }
    }
    if (group_) return fail(fmt::format("character {}: %( without %)", group_at_));
    if (layout_.steps.empty()) return fail("the layout is empty");
    if (auto done = check_untils(); !done) return fail(done.error());
    return std::move(layout_);
  }

 private:
  tl::unexpected<Error> complain(std::size_t at, const std::string& what) const {
    return fail(fmt::format("character {}: {}", at + 1, what));
  }

  Result<void> read_one() {
    const char c = text_[at_];
    if (c == ' ' || c == '\t') {
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
      add(StepKind::Blanks);
      return {};
    }
    if (c != '%') {
      add_literal(c);
      ++at_;
      return {};
    }
    const char next = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    switch (next) {
      case '%': add_literal('%'); break;
      case '(': return open_group();
      case ')': return close_group();
      case '{': return read_field();
      default: return complain(at_, "% is followed by {, (, ) or %");
    }
    at_ += 2;
    return {};
  }

  Result<void> open_group() {
    if (group_) return complain(at_, "%( inside %( is not possible");
    group_ = layout_.steps.size();
    group_at_ = at_ + 1;
    add(StepKind::Group);
    at_ += 2;
    return {};
  }

  Result<void> close_group() {
    if (!group_) return complain(at_, "%) without %(");
    add(StepKind::EndGroup);
    layout_.steps[*group_].skip_to = static_cast<std::uint16_t>(layout_.steps.size());
    group_.reset();
    at_ += 2;
    return {};
  }

  Result<void> read_field() {
    const std::size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) return complain(at_, "%{ without }");
    const std::string_view inside = text_.substr(at_ + 2, close - at_ - 2);
    const std::size_t colon = std::min(inside.find(':'), inside.size());
    const std::string_view name = inside.substr(0, colon);
    const std::string_view type = inside.substr(std::min(colon + 1, inside.size()));
    auto step = step_of(name, type);
    if (!step) return complain(at_, step.error().message());
    layout_.steps.push_back(std::move(*step));
    at_ = close + 1;
    return {};
  }

  static Result<LayoutStep> step_of(std::string_view name, std::string_view type) {
    LayoutStep step;
    const auto special = [&](std::string_view own, std::string_view own_type, StepKind kind) {
      if (name != own || type != own_type) return false;
      step.kind = kind;
      return true;
    };
    if (name == "time" || (name.empty() && type == "time")) {
      step.kind = StepKind::Time;
      if (name.empty()) step.role = FieldRole::Skip;
      if (name.empty() || type.empty()) return step;
      if (type == "syslog") step.spelling = TimeSpelling::Syslog;
      if (type == "ctime") step.spelling = TimeSpelling::Ctime;
      if (type == "klog") step.spelling = TimeSpelling::Klog;
      if (step.spelling) return step;
      return fail(fmt::format("unknown type \"{}\" of time (legal: syslog, ctime, klog)", type));
    }
    if (special("level", "", StepKind::Level) || special("level", "redis", StepKind::RedisLevel) ||
        special("level", "letter", StepKind::LetterLevel) || special("", "zone", StepKind::Zone) ||
        special("priority", "", StepKind::Priority) || special("pairs", "", StepKind::Pairs)) {
      return step;
    }
    step.kind = StepKind::Until;
    if (!type.empty()) {
      const auto* const found =
          std::find_if(std::begin(kTypes), std::end(kTypes),
                       [&](const TypeName& known) { return known.name == type; });
      if (found == std::end(kTypes)) {
        return fail(fmt::format(
            "unknown type \"{}\" (legal: word, tag, logger, number, quoted, sd, rest)", type));
      }
      step.kind = found->kind;
    }
    const bool is_legal = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '.' || c == '-' || c == '@';
    });
    if (!is_legal || name.size() > 128) {
      return fail(
          fmt::format("\"{}\" is no field name (letters, digits, _ . - @; at most 128)", name));
    }
    step.role = name.empty()        ? FieldRole::Skip
                : name == "message" ? FieldRole::Message
                                    : FieldRole::Field;
    step.text = name;
    return step;
  }

  // A field "up to what follows" must be followed by text, or by the end.
  Result<void> check_untils() {
    for (std::size_t i = 0; i < layout_.steps.size(); ++i) {
      LayoutStep& step = layout_.steps[i];
      if (step.kind != StepKind::Until) continue;
      if (i + 1 == layout_.steps.size()) {
        step.kind = StepKind::Rest;
        continue;
      }
      const StepKind next = layout_.steps[i + 1].kind;
      if (next != StepKind::Literal && next != StepKind::Blanks) {
        return fail(
            fmt::format("%{{{}}} must be followed by text, or say where it ends: %{{{}:word}}",
                        step.text, step.text));
      }
    }
    return {};
  }

  void add(StepKind kind) {
    LayoutStep step;
    step.kind = kind;
    layout_.steps.push_back(std::move(step));
  }

  void add_literal(char c) {
    const bool is_new = layout_.steps.empty() || layout_.steps.back().kind != StepKind::Literal;
    if (is_new) add(StepKind::Literal);
    layout_.steps.back().text.push_back(c);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Layout layout_;
  std::optional<std::size_t> group_;
  std::size_t group_at_ = 0;
};

}  // namespace

Result<Layout> Layout::compile(std::string_view text) {
  auto layout = Compiler(text).run();
  // key_bucket reads eight bytes whatever the length.
  if (layout) {
    for (LayoutStep& step : layout->steps) step.text.reserve(step.text.size() + 64);
  }
  return layout;
}

}  // namespace pillion::logs
