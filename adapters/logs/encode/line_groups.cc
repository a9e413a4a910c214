#include "adapters/logs/encode/line_groups.h"

#include <algorithm>
#include <cctype>

namespace pillion::logs {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return static_cast<unsigned char>((c | 0x20) - 'a') < 26; }
bool is_name_byte(char c) {
  return is_digit(c) || is_letter(c) || c == '.' || c == '_' || c == '$' || c == '/' || c == ':';
}

std::string_view without_cr(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::string_view trimmed(std::string_view line) {
  const std::size_t begin = line.find_first_not_of(" \t");
  return begin == std::string_view::npos ? std::string_view() : line.substr(begin);
}

// "java.lang.IllegalStateException: x", "TypeError: x", "Unhandled exception. System.Exception".
bool is_exception(std::string_view text) {
  for (const std::string_view lead : {"Exception in thread \"", "Unhandled exception", "Uncaught "})
    if (text.starts_with(lead)) return true;
  const auto* const end = std::find_if_not(text.begin(), text.end(), is_name_byte);
  std::string_view name(text.data(), static_cast<std::size_t>(end - text.begin()));
  const std::size_t colon = name.find(':');
  const bool ends_there = colon == std::string_view::npos && name.size() == text.size();
  if (colon == std::string_view::npos && !ends_there) return false;
  name = name.substr(0, colon);
  for (const std::string_view kind : {"Exception", "Error", "Throwable"})
    if (name.ends_with(kind)) return true;
  return false;
}

// "app/models/order.rb:12:in `save'" of Ruby.
bool is_ruby_frame(std::string_view text) {
  const std::size_t in = text.find(":in ");
  if (in == std::string_view::npos || in == 0 || !is_digit(text[in - 1])) return false;
  const std::size_t digits = text.find_last_not_of("0123456789", in - 1);
  return digits != std::string_view::npos && text[digits] == ':' &&
         text.substr(0, digits).find(' ') == std::string_view::npos;
}

bool starts_with_level(std::string_view text) {
  constexpr std::string_view kLevels[] = {"TRACE", "DEBUG",    "INFO",  "NOTICE", "WARN",
                                          "ERROR", "CRITICAL", "FATAL", "SEVERE"};
  return std::any_of(std::begin(kLevels), std::end(kLevels),
                     [&](std::string_view level) { return text.starts_with(level); });
}

// A time, a level or a JSON object at the start, by their looks: a record begins here.
bool starts_record(std::string_view line) {
  std::string_view text = trimmed(line);
  if (text.size() != line.size() || text.empty()) return false;
  if (text.front() == '{') return true;
  if (text.front() == '[' || text.front() == '<') text.remove_prefix(1);
  if (starts_with_level(text)) return true;
  const auto digits = [&](std::size_t at) {
    std::size_t count = 0;
    while (at + count < text.size() && is_digit(text[at + count])) ++count;
    return count;
  };
  const std::size_t leading = digits(0);
  const char after = leading < text.size() ? text[leading] : '\0';
  // 2024-01-15, 2024/01/15, 15/Jan/2024, 14:32:01, 1705329121, "34>" of syslog, 0.123s of the JVM
  if (leading == 4 || leading == 8 || leading >= 10) return true;
  if (leading > 0 && leading <= 3) {
    return after == '/' || after == ':' || after == '-' || after == '>' || after == '.';
  }
  if (leading == 6) return after == ' ';                       // 081109 203518
  if (is_letter(text.front()) && digits(1) == 4) return true;  // E0115 of glog
  // "Jan 15 14:32:01", "Mon Jan 15 …"
  const std::size_t space = text.find(' ');
  return space == 3 && text.find(':') < 20 && is_letter(text[0]) && is_letter(text[1]) &&
         is_letter(text[2]);
}

constexpr std::string_view kTraceback = "Traceback (most recent call last):";

}  // namespace

// Whether a log line, rather than a trace or plain text: what reports the trace that follows.
bool LineGroup::reports(std::string_view line) const {
  return starts_record(line) && !is_exception(line);
}

void LineGroup::begin(std::string_view line) {
  line = without_cr(line);
  line_count_ = 1;
  trace_ = Trace::None;
  is_reported_ = reports(line);
  if (rules_.preset == GroupPreset::Generic || rules_.preset == GroupPreset::Pattern) return;
  if ((is_of(GroupPreset::Python) || is_of(GroupPreset::Ruby)) && line.ends_with(kTraceback)) {
    trace_ = Trace::Python;
  } else if (is_of(GroupPreset::Go) &&
             (line.starts_with("panic: ") || line.starts_with("fatal error: ") ||
              line.find("http: panic serving") != std::string_view::npos)) {
    trace_ = Trace::GoPanic;
  } else if (is_of(GroupPreset::Ruby) && line.ends_with("):") && !line.empty() &&
             std::isupper(static_cast<unsigned char>(line.front())) != 0 &&
             line.find(" (") != std::string_view::npos) {
    trace_ = Trace::Rails;  // "ActiveRecord::RecordNotFound (no order 7):"
  }
}

bool LineGroup::continues(std::string_view line) {
  line = without_cr(line);
  const std::string_view text = trimmed(line);
  bool does = false;
  switch (rules_.preset) {
    case GroupPreset::Generic: does = continues_generic(line); break;
    case GroupPreset::Pattern: does = rules_.start->match(line) == RegexFormat::Match::No; break;
    default:
      does =
          ((is_of(GroupPreset::Java) || is_of(GroupPreset::Node) || is_of(GroupPreset::Dotnet)) &&
           continues_frames(line, text)) ||
          ((is_of(GroupPreset::Python) || is_of(GroupPreset::Ruby)) &&
           continues_python(line, text)) ||
          (is_of(GroupPreset::Go) && continues_go(line, text)) ||
          (is_of(GroupPreset::Ruby) && continues_ruby(line, text));
  }
  line_count_ += does;
  return does;
}

bool LineGroup::continues_generic(std::string_view line) const {
  if (!line.empty() && (line.front() == ' ' || line.front() == '\t')) return true;
  return is_reported_ && !starts_record(line);
}

// Java: "\tat …", "Caused by: …", "... 3 more"; .NET: "   at …", " ---> …", "--- End of …";
// Node.js: "    at …", "  code: 'X'", "}".
bool LineGroup::continues_frames(std::string_view line, std::string_view text) {
  if (text.empty()) return false;
  const bool is_indented = text.size() != line.size();
  const bool is_frame =
      (is_indented &&
       (text.starts_with("at ") || text.starts_with("eval at ") || text.starts_with("---> "))) ||
      text.starts_with("Caused by:") || text.starts_with("Suppressed:") ||
      text.starts_with("--- End of ") || text.starts_with("nested exception is:") ||
      (text.starts_with("... ") && text.size() > 4 && is_digit(text[4]));
  if (is_frame) {
    if (trace_ == Trace::None) trace_ = Trace::Frames;
    return true;
  }
  if (trace_ == Trace::Frames) return is_indented || text == "}";
  return line_count_ == 1 && is_reported_ && !is_indented && is_exception(text);
}

// Also of Ruby's "Traceback", whose frames are indented as well.
bool LineGroup::continues_python(std::string_view line, std::string_view text) {
  const bool is_indented = text.size() != line.size();
  const bool is_chain = text.starts_with("During handling of the above exception") ||
                        text.starts_with("The above exception was the direct cause");
  switch (trace_) {
    case Trace::None:
      if (line_count_ > 1 || !is_reported_ || text != kTraceback) return false;
      trace_ = Trace::Python;
      return true;
    case Trace::Python: {
      if (text.empty() || is_indented) return is_indented;
      const std::size_t name = text.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
      trace_ = Trace::PythonEnd;
      return name == std::string_view::npos || (name > 0 && text[name] == ':') ||
             is_ruby_frame(text);
    }
    case Trace::PythonEnd:
      if (!text.empty()) return false;
      trace_ = Trace::PythonGap;
      return true;
    case Trace::PythonGap: trace_ = Trace::PythonChain; return is_chain;
    case Trace::PythonChain:
      if (text.empty()) return true;
      trace_ = Trace::Python;
      return text == kTraceback;
    default: return false;
  }
}

bool LineGroup::continues_go(std::string_view line, std::string_view text) {
  if (trace_ != Trace::GoPanic && trace_ != Trace::GoStack && trace_ != Trace::GoGap) return false;
  if (text.starts_with("goroutine ") || text.starts_with("runtime stack:")) {
    trace_ = Trace::GoStack;
    return true;
  }
  if (text.starts_with("exit status ")) {
    trace_ = Trace::None;
    return true;
  }
  if (text.empty()) {
    if (trace_ == Trace::GoStack) trace_ = Trace::GoGap;
    return true;
  }
  const bool is_indented = text.size() != line.size();
  if (trace_ == Trace::GoPanic) {
    return is_indented || text.starts_with("[signal ") || text.starts_with("panic: ");
  }
  if (trace_ == Trace::GoGap) return false;
  // "main.main()", "net/http.(*conn).serve(0xc0001, …)", "created by main.run in goroutine 1"
  const std::size_t paren = text.find('(');
  return is_indented || text.starts_with("created by ") ||
         (paren != std::string_view::npos && paren > 0 && text.back() == ')' &&
          text.substr(0, paren).find(' ') == std::string_view::npos);
}

bool LineGroup::continues_ruby(std::string_view line, std::string_view text) {
  const bool is_indented = text.size() != line.size();
  if (is_indented && text.starts_with("from ")) return true;
  if (trace_ != Trace::Rails) return false;
  return text.empty() || is_indented || is_ruby_frame(text);
}

}  // namespace pillion::logs
