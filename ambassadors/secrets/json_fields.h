// Secrets inside a parsed JSON document; private to the parsers, because the JSON header is heavy.
#pragma once

#include <nlohmann/json.hpp>

#include "ambassadors/secrets/field_text.h"

namespace pillion::secrets {

// Moves the members of `object` out as fields. Numbers, booleans and structures become compact
// JSON.
Fields take_fields(nlohmann::json& object);

// Overwrites every string value in the document.
void wipe(nlohmann::json& document);

}  // namespace pillion::secrets
