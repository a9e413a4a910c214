#include "adapters/logs/inspect/explain.h"

#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include <fmt/format.h>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/inspect/line_reader.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

constexpr int kExitNotParsed = 1;

std::string attempts_json(const std::vector<Attempt>& attempts) {
  std::string text = "[";
  for (const Attempt& attempt : attempts) {
    if (text.size() > 1) text += ',';
    text += "{\"format\":";
    append_json_string(text, name_of(attempt.format));
    text += ",\"error\":";
    append_json_string(text, attempt.reason);
    text += '}';
  }
  return text + "]";
}

}  // namespace

std::string explain_text(const LineVerdict& verdict, std::uint64_t number) {
  if (verdict.record.empty()) {
    return fmt::format("line {}: no record (empty, or part of a line that goes on)\n", number);
  }
  std::string text = fmt::format("line {}: {}", number, name_of(verdict.format));
  if (!verdict.is_parsed) text += ", does not parse: " + verdict.reason;
  text += '\n';
  for (const Attempt& attempt : verdict.attempts) {
    text += fmt::format("  not {}: {}\n", name_of(attempt.format), attempt.reason);
  }
  std::vector<RecordField> fields;
  std::size_t width = 0;
  RecordFields walk(verdict.record);
  for (RecordField field; walk.next(field);) {
    fields.push_back(field);
    width = std::max(width, field.key.size());
  }
  for (const RecordField& field : fields) {
    text += fmt::format("  {:<{}}  {}\n", field.key, width, field.value);
  }
  return text;
}

std::string explain_json(const LineVerdict& verdict, std::uint64_t number) {
  std::string text = fmt::format("{{\"line\":{}", number);
  if (verdict.record.empty()) return text + ",\"record\":null}\n";
  text += ",\"format\":";
  append_json_string(text, name_of(verdict.format));
  text += verdict.is_parsed ? ",\"parsed\":true" : ",\"parsed\":false,\"error\":";
  if (!verdict.is_parsed) append_json_string(text, verdict.reason);
  if (!verdict.attempts.empty()) text += ",\"tried\":" + attempts_json(verdict.attempts);
  return text + ",\"record\":" + verdict.record + "}\n";
}

int explain_lines(Inspector inspector, int input, bool is_json) {
  LineReader reader(input, inspector.options().line_bytes_max, inspector.options().groups);
  std::string line;
  int exit_code = 0;
  for (;;) {
    const auto more = reader.next(line);
    if (!more) {
      std::fprintf(stderr, "error: standard input: %s\n", more.error().message().c_str());
      return EX_OSERR;
    }
    if (!*more) return exit_code;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    inspector.set_observed_time(std::chrono::nanoseconds(now).count());
    LineVerdict verdict = inspector.inspect(line);
    if (!verdict.is_parsed) {
      exit_code = kExitNotParsed;
      if (verdict.format == Format::Raw) verdict.attempts = inspector.attempts_at(line);
    }
    const std::string text =
        is_json ? explain_json(verdict, reader.number()) : explain_text(verdict, reader.number());
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
}

}  // namespace pillion::logs
