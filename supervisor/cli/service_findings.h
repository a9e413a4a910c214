// What a service's own state says about its network, as findings beside those of `pillion-netns
// doctor`: tasks before the app that have not finished, helpers that are not ready. Pure.
#pragma once

#include <vector>

#include "netns/finding.h"
#include "supervisor/control/status_report.h"

namespace pillion::supervisor::cli {

std::vector<netns::Finding> findings_of(const control::StatusReport& report);

}  // namespace pillion::supervisor::cli
