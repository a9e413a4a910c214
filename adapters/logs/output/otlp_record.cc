#include "adapters/logs/output/otlp_record.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "adapters/logs/encode/record_filter.h"
#include "adapters/logs/encode/record_values.h"
#include "adapters/logs/output/otlp.h"
#include "runtime/protobuf.h"

namespace pillion::logs {
namespace {

std::string_view without_quotes(std::string_view json_string) {
  return json_string.substr(1, json_string.size() - 2);
}

bool is_string(std::string_view value) { return value.size() >= 2 && value.front() == '"'; }

bool is_hex_of(std::string_view value, std::size_t digits) {
  if (value.size() != digits + 2 || value.front() != '"') return false;
  const std::string_view text = without_quotes(value);
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }) &&
         text.find_first_not_of('0') != std::string_view::npos;
}

bool is_of_resource(std::string_view key) {
  for (const std::string_view prefix :
       {"service.", "host.", "k8s.", "container.", "cloud.", "deployment."}) {
    if (key.starts_with(prefix)) return true;
  }
  return false;
}

bool is_integer(std::string_view number) {
  return number.find_first_of(".eE") == std::string_view::npos && number.size() <= 19;
}

// ---- JSON

void put_json_value(std::string& out, std::string_view value);

void put_json_attribute(std::string& out, std::string_view key, std::string_view value) {
  out += fmt::format("{{\"key\":\"{}\",\"value\":", otel_name(key));
  put_json_value(out, value);
  out += '}';
}

void put_json_attributes(std::string& out, const std::vector<RecordField>& fields) {
  for (const RecordField& field : fields) {
    if (&field != &fields.front()) out += ',';
    put_json_attribute(out, field.key, field.value);
  }
}

// An AnyValue.
void put_json_value(std::string& out, std::string_view value) {
  switch (value.empty() ? 'n' : value.front()) {
    case '"': out += fmt::format("{{\"stringValue\":{}}}", value); return;
    case 't':
    case 'f': out += fmt::format("{{\"boolValue\":{}}}", value); return;
    case 'n': out += "{}"; return;
    case '{': {
      out += "{\"kvlistValue\":{\"values\":[";
      RecordFields members(value);
      bool is_first = true;
      for (RecordField member; members.next(member); is_first = false) {
        if (!is_first) out += ',';
        put_json_attribute(out, member.key, member.value);
      }
      out += "]}}";
      return;
    }
    case '[': {
      out += "{\"arrayValue\":{\"values\":[";
      RecordElements elements(value);
      bool is_first = true;
      for (std::string_view element; elements.next(element); is_first = false) {
        if (!is_first) out += ',';
        put_json_value(out, element);
      }
      out += "]}}";
      return;
    }
    default:
      out += is_integer(value) ? fmt::format("{{\"intValue\":\"{}\"}}", value)
                               : fmt::format("{{\"doubleValue\":{}}}", value);
  }
}

// ---- Protobuf (https://protobuf.dev/programming-guides/encoding/)

using namespace protobuf;

std::string protobuf_value(std::string_view value);

void put_attribute(std::string& out, unsigned field, std::string_view key, std::string_view value) {
  std::string pair;
  const std::string quoted = '"' + std::string(key) + '"';
  put_bytes(pair, 1, otel_name(unescaped(quoted)));
  put_bytes(pair, 2, protobuf_value(value));
  put_bytes(out, field, pair);
}

// An AnyValue.
std::string protobuf_value(std::string_view value) {
  std::string out;
  switch (value.empty() ? 'n' : value.front()) {
    case '"': put_bytes(out, 1, unescaped(value)); break;
    case 't':
    case 'f': put_number(out, 2, value.front() == 't' ? 1 : 0); break;
    case 'n': break;
    case '{': {
      std::string list;
      RecordFields members(value);
      for (RecordField member; members.next(member);) {
        put_attribute(list, 1, member.key, member.value);
      }
      put_bytes(out, 6, list);
      break;
    }
    case '[': {
      std::string list;
      RecordElements elements(value);
      for (std::string_view element; elements.next(element);) {
        put_bytes(list, 1, protobuf_value(element));
      }
      put_bytes(out, 5, list);
      break;
    }
    default: {
      const std::string text(value);
      if (is_integer(value)) {
        put_number(out, 3, static_cast<std::uint64_t>(std::strtoll(text.c_str(), nullptr, 10)));
      } else {
        put_fixed64(out, 4, std::bit_cast<std::uint64_t>(std::strtod(text.c_str(), nullptr)));
      }
    }
  }
  return out;
}

std::string bytes_of_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::strtoul(std::string(hex.substr(i, 2)).c_str(), nullptr, 16));
  }
  return bytes;
}

constexpr const char* kScope = "pillion-logs";

}  // namespace

OtlpRecord OtlpRecord::of(std::string_view text) {
  OtlpRecord record;
  RecordFields fields(text);
  for (RecordField field; fields.next(field);) {
    const std::string_view key = field.key;
    const auto is = [&](std::initializer_list<std::string_view> names) {
      return std::find(names.begin(), names.end(), key) != names.end();
    };
    if (key == "@timestamp") {
      record.time = unix_nanoseconds(field.value);
    } else if (key == "event.created") {
      record.observed = unix_nanoseconds(field.value);
    } else if (key == "log.level" && is_string(field.value)) {
      record.level = field.value;
      record.severity = severity_number(without_quotes(field.value));
    } else if (key == "message") {
      record.message = field.value;
    } else if (is({"trace.id", "trace_id", "traceId"}) && is_hex_of(field.value, 32)) {
      record.trace_id = without_quotes(field.value);
    } else if (is({"span.id", "span_id", "spanId"}) && is_hex_of(field.value, 16)) {
      record.span_id = without_quotes(field.value);
    } else if (is_of_resource(key)) {
      record.resource.push_back(field);
    } else {
      record.attributes.push_back(field);
    }
  }
  return record;
}

std::string OtlpRecord::resource_json() const {
  std::string out;
  put_json_attributes(out, resource);
  return out;
}

std::string OtlpRecord::json() const {
  std::string out = fmt::format("{{\"timeUnixNano\":\"{}\"", time);
  if (observed != 0) out += fmt::format(",\"observedTimeUnixNano\":\"{}\"", observed);
  if (severity != 0) out += fmt::format(",\"severityNumber\":{}", severity);
  if (!level.empty()) out += fmt::format(",\"severityText\":{}", level);
  if (!message.empty()) {
    out += ",\"body\":";
    put_json_value(out, message);
  }
  if (!attributes.empty()) {
    out += ",\"attributes\":[";
    put_json_attributes(out, attributes);
    out += ']';
  }
  if (!trace_id.empty()) out += fmt::format(",\"traceId\":\"{}\"", trace_id);
  if (!span_id.empty()) out += fmt::format(",\"spanId\":\"{}\"", span_id);
  return out + "}";
}

std::string OtlpRecord::resource_protobuf() const {
  std::string out;
  for (const RecordField& field : resource) put_attribute(out, 1, field.key, field.value);
  return out;
}

std::string OtlpRecord::protobuf() const {
  std::string record;
  put_fixed64(record, 1, static_cast<std::uint64_t>(time));
  if (severity != 0) put_number(record, 2, static_cast<std::uint64_t>(severity));
  if (!level.empty()) put_bytes(record, 3, unescaped(level));
  if (!message.empty()) put_bytes(record, 5, protobuf_value(message));
  for (const RecordField& field : attributes) put_attribute(record, 6, field.key, field.value);
  if (!trace_id.empty()) put_bytes(record, 9, bytes_of_hex(trace_id));
  if (!span_id.empty()) put_bytes(record, 10, bytes_of_hex(span_id));
  if (observed != 0) put_fixed64(record, 11, static_cast<std::uint64_t>(observed));
  std::string out;
  put_bytes(out, 2, record);
  return out;
}

std::string request_json(const std::map<std::string, std::string>& records_by_resource) {
  std::string out = "{\"resourceLogs\":[";
  for (const auto& [resource, records] : records_by_resource) {
    if (out.back() == '}') out += ',';
    out += fmt::format(
        "{{\"resource\":{{\"attributes\":[{}]}},\"scopeLogs\":[{{\"scope\":{{\"name\":\"{}\"}},"
        "\"logRecords\":[{}]}}]}}",
        resource, kScope, records);
  }
  return out + "]}";
}

std::string request_protobuf(const std::map<std::string, std::string>& records_by_resource) {
  std::string out;
  for (const auto& [resource, records] : records_by_resource) {
    std::string scope;
    put_bytes(scope, 1, kScope);
    std::string scope_logs;
    put_bytes(scope_logs, 1, scope);
    scope_logs += records;
    std::string resource_logs;
    put_bytes(resource_logs, 1, resource);
    put_bytes(resource_logs, 2, scope_logs);
    put_bytes(out, 1, resource_logs);
  }
  return out;
}

}  // namespace pillion::logs
