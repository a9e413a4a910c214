// Numbers out of JSON documents: by rules with JSON pointers (RFC 6901) that may hold `*`, or all
// of them.
#pragma once

#include <string>
#include <string_view>

#include "adapters/metrics/model/family.h"
#include "config/metrics.h"
#include "runtime/result.h"

namespace pillion::metrics {

// A rule whose path leads nowhere gives no series. An error when the document is no JSON, or when
// nothing at all was found.
Result<Families> parse_json(std::string_view text, const config::JsonInput& config);

// The body of a POST with all reads (Jolokia's bulk request).
std::string jolokia_request(const config::JolokiaInput& config);
// The answer: one object per read, in order. A read that failed is an error only when all did.
Result<Families> parse_jolokia(std::string_view text, const config::JolokiaInput& config);

// What is wrong with a rule's path; empty when nothing is.
std::string find_path_problem(const std::string& path);

}  // namespace pillion::metrics
