// What Redis' INFO says (https://redis.io/docs/latest/commands/info/), under the names that
// redis_exporter gave it; Valkey and KeyDB say the same.
#pragma once

#include <string_view>

#include "adapters/metrics/model/family.h"
#include "runtime/result.h"

namespace pillion::metrics {

Result<Families> parse_redis_info(std::string_view text);

}  // namespace pillion::metrics
