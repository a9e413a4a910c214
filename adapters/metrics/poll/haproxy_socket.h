// HAProxy's stats socket (Management Guide, 9.3 "Unix Socket commands"): "show stat" and the CSV.
#pragma once

#include <cstddef>
#include <string>

#include "adapters/metrics/poll/asker.h"

namespace pillion::metrics {

BlockingWork haproxy_work(std::string socket_path, std::size_t bytes_max);

}  // namespace pillion::metrics
