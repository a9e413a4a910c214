// `pillion-logs replay`: sends the records of a dead letter file once more, after what refused them
// was mended.
#pragma once

#include <cstddef>
#include <string>

#include "config/logs.h"

namespace pillion::logs {

// Sends to the output at `index` (from 0) of `config` and waits until each record is stored or
// refused again; those go to PATH.refused. `path` itself is left as it is. Prints what became of
// them; the exit code is 0 when all are stored.
int replay_dead_letters(const config::LogsConfig& config, std::size_t index,
                        const std::string& path);

}  // namespace pillion::logs
