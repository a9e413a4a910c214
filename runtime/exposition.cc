#include "runtime/exposition.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace pillion {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

void skip_blanks(std::string_view& text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

// A metric's or label's name off the front; empty when there is none.
std::string_view take_name(std::string_view& text, bool has_colons) {
  std::size_t size = 0;
  while (size < text.size() && (is_letter(text[size]) || (has_colons && text[size] == ':') ||
                                (size > 0 && is_digit(text[size])))) {
    ++size;
  }
  const std::string_view name = text.substr(0, size);
  text.remove_prefix(size);
  return name;
}

std::string_view take_word(std::string_view& text) {
  skip_blanks(text);
  const auto end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
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

// A quoted label value, quotes included, off the front; empty when it does not end or has an
// escape that the format does not know.
std::string_view take_quoted(std::string_view& text) {
  if (!text.starts_with('"')) return {};
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      const std::string_view quoted = text.substr(0, i + 1);
      text.remove_prefix(i + 1);
      return quoted;
    }
    if (text[i] != '\\') continue;
    ++i;
    if (i == text.size() || (text[i] != '\\' && text[i] != '"' && text[i] != 'n')) return {};
  }
  return {};
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
      const auto end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (const auto problem = parse_line(line)) {
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
    skip_blanks(line);
    if (line.empty()) return std::nullopt;
    if (line.front() == '#') {
      parse_comment(line.substr(1));
      return std::nullopt;
    }
    if (samples_.size() == kSamplesMax) return fmt::format("more than {} samples", kSamplesMax);
    return parse_sample(line);
  }

  void parse_comment(std::string_view line) {
    const std::string_view word = take_word(line);
    if (word != "HELP" && word != "TYPE") return;
    skip_blanks(line);
    const std::string name(take_name(line, true));
    if (name.empty()) return;
    Description& description = descriptions_[name];
    if (word == "TYPE") {
      if (description.type.empty()) description.type = take_word(line);
      return;
    }
    skip_blanks(line);
    if (description.help.empty()) description.help = clean_help(line);
  }

  std::optional<std::string> parse_sample(std::string_view line) {
    const std::string name(take_name(line, true));
    if (name.empty()) return "does not begin with a metric's name";
    Sample sample;
    sample.family = family_of(name);
    sample.series = name;
    std::string labels = prefix_;
    skip_blanks(line);
    if (line.starts_with('{')) {
      line.remove_prefix(1);
      if (const auto problem = parse_labels(line, labels)) return problem;
    }
    if (!labels.empty()) sample.series += "{" + labels + "}";
    const std::string_view value = take_word(line);
    if (!is_value(value)) return fmt::format("{}: \"{}\" is no number", name, value.substr(0, 40));
    sample.rest = value;
    const std::string_view time = take_word(line);
    // An exemplar of OpenMetrics, which format 0.0.4 has no place for.
    if (!time.empty() && !time.starts_with('#')) {
      if (!is_timestamp(time)) return name + ": the timestamp is no whole number";
      sample.rest += ' ';
      sample.rest += time;
      const std::string_view more = take_word(line);
      if (!more.empty() && !more.starts_with('#')) return name + ": more than a value and a time";
    }
    samples_.push_back(std::move(sample));
    return std::nullopt;
  }

  // Appends `a="1",b="2"`; takes the closing brace too.
  std::optional<std::string> parse_labels(std::string_view& line, std::string& out) {
    std::vector<std::string> seen;
    for (;;) {
      skip_blanks(line);
      if (line.starts_with('}')) {
        line.remove_prefix(1);
        return std::nullopt;
      }
      std::string name(take_name(line, false));
      if (name.empty() || name == "__name__") return "a label has no proper name";
      skip_blanks(line);
      if (!line.starts_with('=')) return "label " + name + " has no value";
      line.remove_prefix(1);
      skip_blanks(line);
      const std::string_view value = take_quoted(line);
      if (value.empty()) return "the value of label " + name + " is not quoted properly";
      while (std::any_of(labels_.begin(), labels_.end(),
                         [&](const auto& label) { return label.first == name; })) {
        name = "exported_" + name;
      }
      if (std::find(seen.begin(), seen.end(), name) != seen.end()) return "label twice: " + name;
      if (!out.empty()) out += ',';
      out += name;
      out += '=';
      out += value;
      seen.push_back(std::move(name));
      skip_blanks(line);
      if (line.starts_with(',')) {
        line.remove_prefix(1);
      } else if (!line.starts_with('}')) {
        return "the labels do not end";
      }
    }
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
