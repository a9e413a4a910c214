// Quantities in words for people: "23.4 MiB", "250m", "3h 20m".
#pragma once

#include <string>

namespace pillion::supervisor::usage {

std::string describe_bytes(double bytes);
// Thousandths of a CPU: "250m" below one, "1.5" above.
std::string describe_cpu(double millis);
std::string describe_span(double seconds);

}  // namespace pillion::supervisor::usage
