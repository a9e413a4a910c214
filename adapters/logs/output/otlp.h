// OTLP/HTTP for logs: POST to URL/v1/logs, as JSON or Protobuf
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp, opentelemetry/proto/logs/v1/logs.proto).
//
// The time, level, message and trace of a record go to their places in the data model; what says
// where it comes from (service.*, host.*, k8s.*, container.*, cloud.*, deployment.*) becomes the
// resource; the rest are attributes, under the names of OpenTelemetry where they have one.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "adapters/logs/output/http_dialect.h"

namespace pillion::logs {

struct OtlpOptions {
  std::string url;  // without final slash and /v1/logs
  HttpClient::Headers headers;
  bool is_protobuf = true;
};

std::unique_ptr<HttpDialect> make_otlp_dialect(OtlpOptions options);

// The name that OpenTelemetry's conventions have for a field of the Elastic Common Schema, or the
// field's own.
std::string_view otel_name(std::string_view ecs_name);

// All fields that have another name, with those of the data model itself (`message` is `body`), for
// records that are written as JSON in another form than OTLP's.
std::map<std::string_view, std::string_view> otel_names();

}  // namespace pillion::logs
