// The status of services as commands need it: asked, parsed, and what became of one that is over.
#pragma once

#include <optional>
#include <string>

#include "runtime/result.h"
#include "supervisor/control/status_report.h"

namespace pillion::supervisor::cli {

// Of a running service; errors as call_api().
Result<control::StatusReport> fetch_status(const std::string& name);

// The receipt that the last stop of a service left behind.
std::optional<core::Receipt> read_last_receipt(const std::string& name);

}  // namespace pillion::supervisor::cli
