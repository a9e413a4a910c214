// What an answer of the _bulk API means for each record. Pure.
// (https://www.elastic.co/guide/en/elasticsearch/reference/8.12/docs-bulk.html)
//
// A 200 of _bulk says only that the request was understood: every item has a status of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion::logs {

enum class Verdict : std::uint8_t {
  Done,    // stored, now or by an earlier attempt
  Retry,   // the server was busy
  Reject,  // this record will never be accepted: dead letter
  Hold,    // nothing will be accepted until somebody repairs the cluster or our rights
};

// `has_own_id`: the record carries an id made by us, so that a conflict means "already there".
Verdict choose_verdict(int status, std::string_view error_type, bool has_own_id);

// Whether a record was refused because a field has another type than the index knows, or one too
// many.
bool is_mapping_conflict(int status, std::string_view error_type);

struct ItemVerdict {
  Verdict verdict = Verdict::Done;
  int status = 0;
  bool is_mapping_conflict = false;  // of a rejected one
  std::string error;                 // JSON text of the item's error, empty when it is done
};

// Verdicts of the `item_count` records of a request, in their order. An Error when the answer is
// not one to that request (truncated, another length): everything is to be sent again.
Result<std::vector<ItemVerdict>> parse_bulk_response(std::string_view body, std::size_t item_count,
                                                     bool has_own_id);

// What to do with a request whose HTTP status is not 200.
enum class RequestVerdict : std::uint8_t { RetryAll, Halve, Hold };
RequestVerdict choose_request_verdict(int status);

// Seconds of a Retry-After header, at most `seconds_max`; 0 when absent or not a number of seconds.
unsigned parse_retry_after(std::string_view value, unsigned seconds_max);

// Full jitter: between 0 and base × 2^attempt, at most `max`. `random` is uniform in [0, 1).
std::int64_t backoff_ms(unsigned attempt, std::int64_t base_ms, std::int64_t max_ms, double random);

}  // namespace pillion::logs
