// Where commands get the events of a service from: the control API while it runs, else the files
// that it left.
#pragma once

#include <string>
#include <vector>

#include "runtime/result.h"
#include "supervisor/control/event_record.h"

namespace pillion::supervisor::cli {

// Those that match, oldest first. `name` is a service or its file. A service that does not run and
// has left nothing is an error with errno ENOENT.
Result<std::vector<control::EventRecord>> fetch_events(const std::string& name,
                                                       const control::EventFilter& filter);

// The query of GET /v1/events for it, with its question mark; empty when nothing is filtered.
std::string query_of(const control::EventFilter& filter);

// "2024-01-15 14:32:01.123  warning  app#3  was killed by signal 9"
std::string render_event(const control::EventRecord& event, bool with_colour);

}  // namespace pillion::supervisor::cli
