// Messages of grpc.health.v1 in gRPC's length-prefixed framing, no more of either than one check
// needs. https://github.com/grpc/grpc/blob/master/doc/health-checking.md, PROTOCOL-HTTP2.md
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pillion::supervisor::probe {

enum class ServingStatus { Unknown = 0, Serving = 1, NotServing = 2, ServiceUnknown = 3 };

// HealthCheckRequest{service}, framed and not compressed.
std::string health_request(std::string_view service);

// The status of a framed HealthCheckResponse; fields that are not known are skipped. Empty when it
// is none: cut off, compressed, no protobuf, or a status that is not defined.
std::optional<ServingStatus> parse_health_answer(std::string_view body);

}  // namespace pillion::supervisor::probe
