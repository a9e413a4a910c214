// The two formats in which a local file may hold several secrets: one JSON object, or lines of
// KEY=VALUE as in an env file.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "ambassadors/secrets/secret_data.h"
#include "runtime/result.h"

namespace pillion::secrets {

using Fields = std::map<std::string, SecretText>;

// Text whose first character that is no space is '{' is JSON, everything else is lines. In lines,
// blanks around the key, empty lines, lines starting with '#' and a leading `export ` are ignored;
// a value in matching single or double quotes loses them, and nothing in it is expanded. Errors
// name the line, never its content.
Result<Fields> parse_fields(std::string_view text);

// The members of one JSON object: strings as they are, everything else (numbers, booleans, objects,
// arrays) as compact JSON, null as a missing field.
Result<Fields> parse_json_fields(std::string_view text);

}  // namespace pillion::secrets
