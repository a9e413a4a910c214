// Writing JSON text without a document in between, for log lines and access logs.
#pragma once

#include <string>
#include <string_view>

namespace pillion {

// Appends `text` as a JSON string with its quotes (RFC 8259 §7). Bytes that are not UTF-8 become
// U+FFFD, so that the output is valid whatever a peer sent.
void append_json_string(std::string& out, std::string_view text);

}  // namespace pillion
