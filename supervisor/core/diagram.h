// The state machines as Mermaid text, from the tables themselves. ARCHITECTURE.md holds the result
// between markers; a unit test compares the two.
#pragma once

#include <string>

namespace pillion::supervisor::core {

// A whole ```mermaid block, without a marker.
std::string child_diagram();
std::string service_diagram();

}  // namespace pillion::supervisor::core
