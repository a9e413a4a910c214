#include "adapters/logs/output/bulk_verdict.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace pillion::logs {

Verdict choose_verdict(int status, std::string_view error_type, bool has_own_id) {
  if (status >= 200 && status < 300) return Verdict::Done;
  if (status == 409 && has_own_id) return Verdict::Done;
  if (error_type == "cluster_block_exception" || error_type == "index_not_found_exception" ||
      error_type == "security_exception" || status == 401 || status == 403) {
    return Verdict::Hold;
  }
  if (status == 429 || status >= 500) return Verdict::Retry;
  return Verdict::Reject;
}

bool is_mapping_conflict(int status, std::string_view error_type) {
  return status == 400 &&
         (error_type == "mapper_parsing_exception" || error_type == "document_parsing_exception" ||
          error_type == "strict_dynamic_mapping_exception" ||
          error_type == "illegal_argument_exception");
}

RequestVerdict choose_request_verdict(int status) {
  // One record can make a whole request unreadable or too large: find it by halving.
  if (status == 413 || status == 400) return RequestVerdict::Halve;
  if (status == 429 || status == 408 || status >= 500) return RequestVerdict::RetryAll;
  return RequestVerdict::Hold;  // 401, 403, 404, a redirect: rights or address
}

// The library's exceptions end here.
Result<std::vector<ItemVerdict>> parse_bulk_response(std::string_view body, std::size_t item_count,
                                                     bool has_own_id) {
  const auto answer = nlohmann::json::parse(body, nullptr, false);
  if (answer.is_discarded() || !answer.is_object()) return fail("the answer is not JSON");
  std::vector<ItemVerdict> verdicts(item_count);
  const auto errors = answer.find("errors");
  if (errors == answer.end() || !errors->is_boolean()) return fail("the answer has no \"errors\"");
  if (!errors->get<bool>()) return verdicts;
  const auto items = answer.find("items");
  if (items == answer.end() || !items->is_array() || items->size() != item_count) {
    return fail("the answer is not about " + std::to_string(item_count) + " items");
  }
  for (std::size_t i = 0; i < item_count; ++i) {
    const auto& item = (*items)[i];
    if (!item.is_object() || item.size() != 1) return fail("the answer has a malformed item");
    const auto& outcome = *item.begin();
    const bool has_status =
        outcome.is_object() && outcome.contains("status") && outcome["status"].is_number_integer();
    if (!has_status) return fail("the answer has an item without status");
    const int status = outcome["status"].get<int>();
    const auto error = outcome.find("error");
    std::string type;
    if (error != outcome.end()) {
      if (error->is_object() && error->contains("type") && (*error)["type"].is_string()) {
        type = (*error)["type"].get<std::string>();
      }
      verdicts[i].error = error->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    verdicts[i].status = status;
    verdicts[i].is_mapping_conflict = is_mapping_conflict(status, type);
    verdicts[i].verdict = choose_verdict(status, type, has_own_id);
  }
  return verdicts;
}

unsigned parse_retry_after(std::string_view value, unsigned seconds_max) {
  unsigned seconds = 0;
  if (value.empty()) return 0;
  for (const char c : value) {
    if (c < '0' || c > '9') return 0;
    seconds = std::min(seconds * 10 + static_cast<unsigned>(c - '0'), seconds_max);
  }
  return seconds;
}

std::int64_t backoff_ms(unsigned attempt, std::int64_t base_ms, std::int64_t max_ms,
                        double random) {
  const std::int64_t ceiling = attempt >= 20 ? max_ms : std::min(max_ms, base_ms << attempt);
  return static_cast<std::int64_t>(static_cast<double>(ceiling) * random);
}

}  // namespace pillion::logs
