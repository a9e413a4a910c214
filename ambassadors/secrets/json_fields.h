// Secrets inside a parsed JSON document; private to the parsers, because the JSON header is heavy.
#pragma once

#include <nlohmann/json.hpp>

#include "ambassadors/secrets/field_text.h"

namespace pillion::secrets {

// Parses text from outside; discarded when it is not JSON or nests deeper than 64 levels (the
// document's own dump and ours walk it recursively).
nlohmann::json parse_json(std::string_view text);

// Moves the members of `object` out as fields. Numbers, booleans and structures become compact
// JSON.
Fields take_fields(nlohmann::json& object);

// Overwrites every string value in the document.
void wipe(nlohmann::json& document);

}  // namespace pillion::secrets
