// Why a service or a child is as it is: one sentence, and what it rests on. Pure.
#pragma once

#include <string>
#include <vector>

#include "supervisor/control/event_record.h"
#include "supervisor/control/status_report.h"

namespace pillion::supervisor::cli {

struct Explanation {
  std::string sentence;
  bool is_well = false;               // nothing to do
  std::string culprit;                // the child that it comes down to; empty = none
  std::vector<std::string> evidence;  // one fact each
  bool operator==(const Explanation&) const = default;
};

// `child` empty = the service. `events` are its history, oldest first.
Explanation explain(const control::StatusReport& report,
                    const std::vector<control::EventRecord>& events, const std::string& child);

// Of a service that does not run: from its last events and, if there is one, its receipt.
Explanation explain_end(const std::string& service, const std::vector<control::EventRecord>& events,
                        const core::Receipt* receipt);

}  // namespace pillion::supervisor::cli
