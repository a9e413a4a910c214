// Prometheus' text format 0.0.4 and OpenMetrics 1.0.0, read into families. Timestamps and exemplars
// are left out: values are of the time at which we asked.
#pragma once

#include <string_view>

#include "adapters/metrics/model/family.h"
#include "config/metrics.h"
#include "runtime/result.h"

namespace pillion::metrics {

// All or nothing; an error names the line. `keep` and `drop` are globs of the families' names.
Result<Families> parse_exposition(std::string_view text, const config::PrometheusInput& config);

}  // namespace pillion::metrics
