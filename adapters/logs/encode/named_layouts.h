// The layouts of the formats that have a name.
#pragma once

#include <vector>

#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/state.h"

namespace pillion::logs {

struct NamedLayouts {
  // Tried in order for a line of a file that is configured to have the format.
  std::vector<Layout> all;
  // Those of them that no line of another format fits by accident: what `auto` tries.
  std::vector<Layout> certain;
};

// Empty for formats that have a parser of their own.
const NamedLayouts& named_layouts(Format format);

// The formats of `named_layouts` that `auto` tries, most particular first.
const std::vector<Format>& detectable_layouts();

}  // namespace pillion::logs
