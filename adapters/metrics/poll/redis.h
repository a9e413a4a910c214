// Asks a Redis server for INFO (RESP2,
// https://redis.io/docs/latest/develop/reference/protocol-spec/).
#pragma once

#include <cstddef>

#include "adapters/metrics/poll/asker.h"
#include "config/metrics.h"

namespace pillion::metrics {

// Connects for every question, so that a changed password or address is noticed.
BlockingWork redis_work(config::RedisInput config, std::size_t bytes_max);

}  // namespace pillion::metrics
