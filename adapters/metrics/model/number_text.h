// Numbers as text and back, in the forms that monitoring formats use.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pillion::metrics {

// Shortest text that reads back to the same number; "+Inf", "-Inf", "NaN".
void append_number(std::string& out, double value);

// As values of the labels `le` and `quantile`: "0.005", "1.0", "1e+06", "+Inf" (OpenMetrics 1.0.0,
// "Considerations: Canonical Numbers").
std::string canonical_number(double value);

// A decimal number, with an optional sign, or inf or nan in any case; nothing before or after it.
std::optional<double> parse_number(std::string_view text);

}  // namespace pillion::metrics
