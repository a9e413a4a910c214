// One value of a JSON document by its RFC 6901 pointer, found while the document passes by: nothing
// but that value is kept. Stricter than RFC 8259 where readers differ.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pillion::proxy {

struct JsonValue {
  enum class Kind {
    Absent,
    Scalar,     // `text` is the string's content, or the number, `true`, `false`, `null` as written
    Composite,  // an object or an array
    Malformed,  // not JSON, or nested deeper than 256
    Ambiguous,  // a name on the way to it occurs twice in its object
  };
  Kind kind = Kind::Absent;
  std::string text;
};

// "/a~1b/0" → {"a/b", "0"}; "" is the whole document.
std::vector<std::string> split_json_pointer(std::string_view pointer);

JsonValue find_json_value(std::string_view document, const std::vector<std::string>& pointer);

}  // namespace pillion::proxy
