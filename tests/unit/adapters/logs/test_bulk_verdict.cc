// What the answers of _bulk mean, and how long to wait.
#include <catch2/catch.hpp>

#include "adapters/logs/output/bulk_verdict.h"

namespace pillion::logs {
namespace {

TEST_CASE("Every status of an item has a verdict") {
  CHECK(choose_verdict(200, "", false) == Verdict::Done);
  CHECK(choose_verdict(201, "", false) == Verdict::Done);
  CHECK(choose_verdict(409, "version_conflict_engine_exception", true) == Verdict::Done);
  CHECK(choose_verdict(409, "version_conflict_engine_exception", false) == Verdict::Reject);
  CHECK(choose_verdict(429, "es_rejected_execution_exception", false) == Verdict::Retry);
  CHECK(choose_verdict(500, "", false) == Verdict::Retry);
  CHECK(choose_verdict(503, "unavailable_shards_exception", false) == Verdict::Retry);
  CHECK(choose_verdict(400, "document_parsing_exception", false) == Verdict::Reject);
  CHECK(choose_verdict(404, "index_not_found_exception", false) == Verdict::Hold);
  CHECK(choose_verdict(403, "cluster_block_exception", false) == Verdict::Hold);
  CHECK(choose_verdict(429, "cluster_block_exception", false) == Verdict::Hold);
  CHECK(choose_verdict(401, "security_exception", false) == Verdict::Hold);
}

TEST_CASE("A mixed answer is judged item by item") {
  const auto verdicts = parse_bulk_response(
      R"({"errors":true,"items":[{"create":{"status":201}},{"create":{"status":429,"error":{"type":"x","reason":"r"}}},)"
      R"({"index":{"status":400,"error":"old style"}}]})",
      3, false);
  REQUIRE(verdicts);
  CHECK((*verdicts)[0].verdict == Verdict::Done);
  CHECK((*verdicts)[1].verdict == Verdict::Retry);
  CHECK((*verdicts)[1].error == R"({"reason":"r","type":"x"})");
  CHECK((*verdicts)[2].verdict == Verdict::Reject);
  CHECK((*verdicts)[2].error == "\"old style\"");
  CHECK(parse_bulk_response(R"({"errors":false})", 5, false)->size() == 5);
}

TEST_CASE("An answer that is not about our records means: send them again") {
  for (const char* body :
       {"", "<html>", "[]", "{}", R"({"errors":true,"items":[]})",
        R"({"errors":true,"items":[{"create":{"status":201}}]})",
        R"({"errors":true,"items":[1,2]})", R"({"errors":true,"items":[{},{}]})",
        R"({"errors":true,"items":[{"create":{}},{"create":{"status":201}}]})",
        R"({"errors":true,"items":[{"create":{"status":"x"}},{"create":{"status":2}}]})",
        R"({"errors":true,"items":[{"create":{"sta)"}) {
    INFO(body);
    CHECK_FALSE(parse_bulk_response(body, 2, false));
  }
}

TEST_CASE("A refused request is halved, sent again or held") {
  CHECK(choose_request_verdict(413) == RequestVerdict::Halve);
  CHECK(choose_request_verdict(400) == RequestVerdict::Halve);
  CHECK(choose_request_verdict(429) == RequestVerdict::RetryAll);
  CHECK(choose_request_verdict(502) == RequestVerdict::RetryAll);
  for (const int status : {401, 403, 404, 301}) {
    CHECK(choose_request_verdict(status) == RequestVerdict::Hold);
  }
}

TEST_CASE("Waits grow, are jittered, bounded, and heed Retry-After") {
  CHECK(backoff_ms(0, 1000, 60000, 0.5) == 500);
  CHECK(backoff_ms(3, 1000, 60000, 0.5) == 4000);
  CHECK(backoff_ms(10, 1000, 60000, 0.999) == 59940);
  CHECK(backoff_ms(4000000000u, 1000, 60000, 0.5) == 30000);
  CHECK(backoff_ms(0, 1000, 60000, 0) == 0);
  CHECK(parse_retry_after("120", 300) == 120);
  CHECK(parse_retry_after("99999999999999", 300) == 300);
  CHECK(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 300) == 0);
  CHECK(parse_retry_after("", 300) == 0);
}

}  // namespace
}  // namespace pillion::logs
