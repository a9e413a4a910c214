// The waterfall of a start or a stop, for a terminal and as a picture.
#pragma once

#include <cstddef>
#include <string>

#include "supervisor/control/timeline.h"

namespace pillion::supervisor::cli {

// One line per bar; `width` columns for the bars themselves.
std::string render_timeline(const std::string& service, const control::Timeline& timeline,
                            std::size_t width, bool with_colour);

// A complete SVG 1.1 document.
std::string render_timeline_svg(const std::string& service, const control::Timeline& timeline);

}  // namespace pillion::supervisor::cli
