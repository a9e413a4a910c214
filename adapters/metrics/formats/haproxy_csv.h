// HAProxy's statistics as CSV (HAProxy Management Guide, 9.1 "CSV format"), under the names of
// HAProxy's own Prometheus exporter. Columns are found by their titles.
#pragma once

#include <string_view>

#include "adapters/metrics/model/family.h"
#include "runtime/result.h"

namespace pillion::metrics {

Result<Families> parse_haproxy_csv(std::string_view text);

}  // namespace pillion::metrics
