// Documents made from the schema: the reference page, its manual page, and the JSON Schema that
// editors complete and check with. `config-docs` writes them, a test compares what is in the tree.
#pragma once

#include <string>

namespace pillion::config {

// docs/configuration.md
std::string reference_markdown();
// packaging/man/pillion.toml.5
std::string reference_manual();
// packaging/schema/pillion.schema.json, draft-07
std::string json_schema();

}  // namespace pillion::config
