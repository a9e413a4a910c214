#include "adapters/logs/encode/indented.h"

#include "adapters/logs/encode/record_fields.h"

namespace pillion::logs {
namespace {

void append_value(std::string& out, std::string_view value, std::size_t depth) {
  const char kind = value.empty() ? '\0' : value.front();
  if (kind != '{' && kind != '[') {
    out += value;
    return;
  }
  const auto begin_line = [&](std::size_t level) {
    out += '\n';
    out.append(level * 2, ' ');
  };
  bool has_any = false;
  out += kind;
  const auto begin_member = [&] {
    if (has_any) out += ',';
    has_any = true;
    begin_line(depth + 1);
  };
  if (kind == '{') {
    RecordFields fields(value);
    for (RecordField field; fields.next(field);) {
      begin_member();
      out.append(field.key.data() - 1, field.key.size() + 2);
      out += ": ";
      append_value(out, field.value, depth + 1);
    }
  } else {
    RecordElements elements(value);
    for (std::string_view element; elements.next(element);) {
      begin_member();
      append_value(out, element, depth + 1);
    }
  }
  if (has_any) begin_line(depth);
  out += kind == '{' ? '}' : ']';
}

}  // namespace

void append_indented(std::string& out, std::string_view record) {
  while (record.ends_with('\n')) record.remove_suffix(1);
  append_value(out, record, 0);
  out += '\n';
}

}  // namespace pillion::logs
