// All tables of the file, each once, with the places where it may stand: what documents are made
// of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"

namespace pillion::config {

struct TablePlace {
  const TableSchema* schema = nullptr;
  // "service", "volume.NAME", "CHILD.startup_probe.http", …; CHILD stands for the app or any
  // helper's table. Lists of tables end in "[]".
  std::vector<std::string> paths;
  // Set for the table of a component: the value of `use`.
  std::string_view use;
};

// In the order in which a reader meets them: the file from top to bottom, each table before the
// tables in it. The file itself comes first, with an empty path.
std::vector<TablePlace> all_tables();

// "HTTP request" → "http-request": how Markdown links to a heading; unique per table.
std::string anchor_of(std::string_view title);

// The default of a field as it would stand in the file, or in words; empty when there is none.
std::string default_text(const TableSchema& schema, const Field& field);

}  // namespace pillion::config
