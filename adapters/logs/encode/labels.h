// Fields whose names no schema knows, gathered under `labels` as text: there they cannot have
// another type from one record to the next, as two programs' "status" have.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace pillion::logs {

// Names that stay where they are: what we add, and what the configuration adds.
using OwnNames = std::set<std::string, std::less<>>;

// Whether `key` (escaped as in JSON) is no name of ours nor of the Elastic Common Schema
// ("http.request.method": a known group before the first dot).
bool is_extracted_field(std::string_view key, const OwnNames& own);

// `record` with its extracted fields in one object `labels`, in place of it behind the action line
// of a bulk request. Nested objects become `a_b`, dots become underscores; a record without such
// fields comes back as it is.
std::string with_labels(std::string_view record, const OwnNames& own);

}  // namespace pillion::logs
