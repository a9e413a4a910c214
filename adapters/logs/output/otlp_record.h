// One record in OpenTelemetry's data model, written as JSON or Protobuf. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/record_fields.h"

namespace pillion::logs {

// A record of an Encoder, taken apart; the views are into it.
struct OtlpRecord {
  std::int64_t time = 0;      // nanoseconds since 1970
  std::int64_t observed = 0;  // 0 = not known
  int severity = 0;
  std::string_view level;  // JSON strings, with quotes, or empty
  std::string_view message;
  std::string_view trace_id;  // 32 and 16 hexadecimal digits, or empty
  std::string_view span_id;
  std::vector<RecordField> resource;
  std::vector<RecordField> attributes;

  static OtlpRecord of(std::string_view record);

  std::string resource_json() const;      // the elements of Resource.attributes
  std::string json() const;               // a LogRecord
  std::string resource_protobuf() const;  // a Resource
  std::string protobuf() const;           // as field 2 of ScopeLogs
};

// ExportLogsServiceRequest of records by their resource.
std::string request_json(const std::map<std::string, std::string>& records_by_resource);
std::string request_protobuf(const std::map<std::string, std::string>& records_by_resource);

}  // namespace pillion::logs
