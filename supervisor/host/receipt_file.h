// The receipt of a stop as JSON, for STATE/last-stop.json.
#pragma once

#include <string>

#include "runtime/result.h"
#include "supervisor/core/actions.h"

namespace pillion::supervisor::host {

std::string receipt_to_json(const core::Finish& finish);
Result<void> write_receipt(const std::string& path, const core::Finish& finish);

}  // namespace pillion::supervisor::host
