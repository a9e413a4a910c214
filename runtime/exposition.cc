#include "runtime/exposition.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "runtime/exposition_line.h"
#include "runtime/take_line.h"

namespace pillion {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_legal_name(std::string_view name, bool has_colons) {
  return !name.empty() && !is_digit(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return is_letter(c) || is_digit(c) || (has_colons && c == ':');
         });
}

bool is_value(std::string_view word) {
  if (word.starts_with('+')) word.remove_prefix(1);
  double value = 0;
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), value);
  const bool is_in_range = parsed.ec == std::errc() || parsed.ec == std::errc::result_out_of_range;
  return !word.empty() && is_in_range && parsed.ptr == word.data() + word.size();
}

bool is_timestamp(std::string_view word) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == word.data() + word.size();
}

// Whether the format knows all escapes in a label's value.
bool has_known_escapes(std::string_view value) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '\\') continue;
    ++i;
    if (i == value.size() || (value[i] != '\\' && value[i] != '"' && value[i] != 'n')) return false;
  }
  return true;
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

bool is_known_type(std::string_view type) {
  return type == "counter" || type == "gauge" || type == "histogram" || type == "summary";
}

// The name without the suffix of a histogram's or summary's sample.
std::string_view strip_suffix(std::string_view name) {
  for (const std::string_view suffix : {"_bucket", "_count", "_sum"}) {
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  }
  return name;
}

// How many bytes the UTF-8 sequence at the front has; 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto is_tail = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return first == 0 ? 0 : 1;
  if (first >= 0xc2 && first <= 0xdf) return is_tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool is_overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool is_surrogate = first == 0xed && byte(1) > 0x9f;
    return is_tail(1) && is_tail(2) && !is_overlong && !is_surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool is_overlong = first == 0xf0 && byte(1) < 0x90;
    const bool is_beyond = first == 0xf4 && byte(1) > 0x8f;
    return is_tail(1) && is_tail(2) && is_tail(3) && !is_overlong && !is_beyond ? 4 : 0;
  }
  return 0;
}

// Escapes that the format does not know are text.
std::string clean_help(std::string_view help) {
  std::string out;
  for (std::size_t i = 0; i < help.size(); ++i) {
    out += help[i];
    if (help[i] != '\\') continue;
    const bool is_escape = i + 1 < help.size() && (help[i + 1] == '\\' || help[i + 1] == 'n');
    out += is_escape ? help[++i] : '\\';
  }
  return out;
}

struct Sample {
  std::string family;
  std::string series;  // name and labels
  std::string rest;    // value and timestamp
};

struct Description {
  std::string type;  // as given; empty = not given
  std::string help;
};

}  // namespace

bool is_utf8_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// One source's text, parsed as a whole before anything of it is taken.
class MergedExposition::Source {
 public:
  explicit Source(const Labels& labels) : labels_(labels) {
    for (const auto& [name, value] : labels) {
      if (!prefix_.empty()) prefix_ += ',';
      prefix_ += name + "=\"";
      append_escaped(prefix_, value);
      prefix_ += '"';
    }
  }

  Result<void> parse(std::string_view text) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      if (const auto problem = parse_line(take_line(text))) {
        return fail(fmt::format("line {}: {}", number, *problem));
      }
    }
    return {};
  }

  const std::vector<Sample>& samples() const { return samples_; }
  const std::map<std::string, Description, std::less<>>& descriptions() const {
    return descriptions_;
  }

 private:
  // What is wrong with it.
  std::optional<std::string> parse_line(std::string_view line) {
    if (line.size() > kLineBytesMax) return fmt::format("is longer than {} bytes", kLineBytesMax);
    if (!is_utf8_text(line)) return "is not UTF-8";
    if (auto problem = read_exposition_line(line, line_)) return problem;
    if (line_.kind != ExpositionLine::Kind::Sample) {
      describe();
      return std::nullopt;
    }
    if (samples_.size() == kSamplesMax) return fmt::format("more than {} samples", kSamplesMax);
    return take_sample();
  }

  void describe() {
    using Kind = ExpositionLine::Kind;
    const bool is_meant = line_.kind == Kind::Help || line_.kind == Kind::Type;
    if (!is_meant || !is_legal_name(line_.name, true)) return;
    Description& description = descriptions_[std::string(line_.name)];
    if (line_.kind == Kind::Type) {
      if (description.type.empty()) description.type = line_.text;
    } else if (description.help.empty()) {
      description.help = clean_help(line_.text);
    }
  }

  std::optional<std::string> take_sample() {
    const std::string name(line_.name);
    if (!is_legal_name(name, true)) return "does not begin with a metric's name";
    Sample sample;
    sample.family = family_of(name);
    sample.series = name;
    std::string labels = prefix_;
    if (auto problem = append_labels(labels)) return problem;
    if (!labels.empty()) sample.series += "{" + labels + "}";
    if (!is_value(line_.value)) {
      return fmt::format("{}: \"{}\" is no number", name, line_.value.substr(0, 40));
    }
    sample.rest = line_.value;
    const std::string_view time = take_word(line_.rest);
    // An exemplar of OpenMetrics, which format 0.0.4 has no place for.
    if (!time.empty() && !time.starts_with('#')) {
      if (!is_timestamp(time)) return name + ": the timestamp is no whole number";
      sample.rest += ' ';
      sample.rest += time;
      const std::string_view more = take_word(line_.rest);
      if (!more.empty() && !more.starts_with('#')) return name + ": more than a value and a time";
    }
    samples_.push_back(std::move(sample));
    return std::nullopt;
  }

  // Appends `a="1",b="2"`.
  std::optional<std::string> append_labels(std::string& out) const {
    std::vector<std::string> seen;
    for (const auto& label : line_.labels) {
      std::string name(label.name);
      if (!is_legal_name(name, false) || name == "__name__") return "a label has no proper name";
      if (!has_known_escapes(label.value)) {
        return "the value of label " + name + " is not quoted properly";
      }
      while (std::any_of(labels_.begin(), labels_.end(),
                         [&](const auto& given) { return given.first == name; })) {
        name = "exported_" + name;
      }
      if (std::find(seen.begin(), seen.end(), name) != seen.end()) return "label twice: " + name;
      if (!out.empty()) out += ',';
      out += fmt::format("{}=\"{}\"", name, label.value);
      seen.push_back(std::move(name));
    }
    return std::nullopt;
  }

  std::string family_of(const std::string& name) {
    if (descriptions_.contains(name)) return name;
    const std::string_view stem = strip_suffix(name);
    if (const auto found = descriptions_.find(stem); found != descriptions_.end()) {
      const std::string& type = found->second.type;
      if (type == "histogram" || (type == "summary" && !name.ends_with("_bucket"))) {
        return std::string(stem);
      }
    }
    // OpenMetrics: the family "requests" of type counter has samples "requests_total".
    if (name.ends_with("_total")) {
      const auto counter = descriptions_.find(name.substr(0, name.size() - 6));
      if (counter != descriptions_.end() && counter->second.type == "counter") {
        const Description copy = counter->second;
        descriptions_[name] = copy;
      }
    }
    return name;
  }

  const Labels& labels_;
  std::string prefix_;
  ExpositionLine line_;
  std::map<std::string, Description, std::less<>> descriptions_;
  std::vector<Sample> samples_;
};

MergedExposition::Family& MergedExposition::family(const std::string& name) {
  const auto [found, is_new] = index_.try_emplace(name, families_.size());
  if (is_new) families_.push_back({name, {}, {}, {}});
  return families_[found->second];
}

Result<MergedExposition::Added> MergedExposition::add(std::string_view text, const Labels& labels) {
  Source source(labels);
  if (auto parsed = source.parse(text); !parsed) return fail(parsed.error());
  Added added;
  for (const auto& [name, description] : source.descriptions()) {
    Family& target = family(name);
    const bool is_known = is_known_type(description.type);
    if (target.type.empty() && is_known && target.samples.empty()) target.type = description.type;
    if (target.help.empty()) target.help = description.help;
  }
  for (const Sample& sample : source.samples()) {
    Family& target = family(sample.family);
    const auto described = source.descriptions().find(sample.family);
    const std::string type = described == source.descriptions().end() ? "" : described->second.type;
    const bool is_contradicted = is_known_type(type) && type != target.type;
    if (is_contradicted || !series_.insert(sample.series).second) {
      ++added.dropped;
      continue;
    }
    target.samples += sample.series + " " + sample.rest + "\n";
    ++added.samples;
  }
  return added;
}

std::string MergedExposition::render() const {
  std::string out;
  for (const Family& each : families_) {
    if (!each.help.empty()) out += fmt::format("# HELP {} {}\n", each.name, each.help);
    if (!each.type.empty()) out += fmt::format("# TYPE {} {}\n", each.name, each.type);
    out += each.samples;
  }
  return out;
}

}  // namespace pillion
