// Pieces of outputs that need no receiver: AWS signatures, names made of records, labels, journal
// entries.
#include <catch2/catch.hpp>

#include "adapters/logs/encode/indented.h"
#include "adapters/logs/encode/labels.h"
#include "adapters/logs/journal/journal_entry.h"
#include "adapters/logs/output/aws_signature.h"
#include "adapters/logs/output/record_template.h"
#include "runtime/text_codes.h"

namespace pillion::logs {
namespace {

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "PUT Object".
TEST_CASE("A request is signed as in Amazon's own example") {
  HttpClient::Request request;
  request.method = "PUT";
  request.url = "https://examplebucket.s3.amazonaws.com/test%24file.text";
  request.body = "Welcome to Amazon S3.";
  request.headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                     {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  sign_aws_request(request,
                   {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""},
                   "us-east-1", "s3", std::int64_t{1369353600} * 1'000'000'000);
  CHECK(request.headers.back().value ==
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  CHECK(percent_encoded("a b/c$", true) == "a%20b/c%24");
  CHECK(percent_encoded("a/b", false) == "a%2Fb");
}

TEST_CASE("Names are made of fields and times") {
  const std::string record =
      R"({"@timestamp":"2024-01-15T14:32:01.5Z","service.name":"shop","n":7,"q":"a\"b"})"
      "\n";
  const auto render = [&](const char* text, bool takes_time) {
    return RecordTemplate::compile(text, takes_time).value().render(record, "ID");
  };
  CHECK(render("logs-%{service.name}-%{n}", false) == "logs-shop-7");
  CHECK(render("%Y/%m/%d/%H/%{id}-%{missing}", true) == "2024/01/15/14/ID-none");
  CHECK(render("100%", false) == "100%");
  CHECK(render("%{q}", false) == "a\"b");
  CHECK_FALSE(RecordTemplate::compile("%{open", true));
  CHECK_FALSE(RecordTemplate::compile("%{}", true));
  CHECK(RecordTemplate::compile("logs", true)->is_constant());
  CHECK_FALSE(RecordTemplate::compile("logs-%Y", true)->is_constant());
  CHECK(RecordTemplate::compile("a%{id}", true)->has_id());
}

TEST_CASE("Extracted fields become labels, others stay") {
  const std::string record =
      R"({"@timestamp":"t","log.level":"info","message":"m","status":500,"a.b":"x","user":{"id":1,"on":true},"none":null,"host.name":"h","zone":"eu"})"
      "\n";
  CHECK(
      with_labels(record, {"zone"}) ==
      R"({"@timestamp":"t","log.level":"info","message":"m","host.name":"h","zone":"eu","labels":{"status":"500","a_b":"x","user_id":"1","user_on":"true"}})"
      "\n");
  CHECK(with_labels("{\"create\":{}}\n{\"x\":[1]}\n", {}) ==
        "{\"create\":{}}\n{\"labels\":{\"x\":\"[1]\"}}\n");
  CHECK(with_labels("{\"message\":\"m\"}\n", {}) == "{\"message\":\"m\"}\n");
  CHECK(with_labels("{\"labels\":{\"a\":\"1\"},\"b\":2}\n", {}) ==
        "{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}\n");
}

TEST_CASE("A record is indented for people") {
  std::string out;
  append_indented(out, "{\"a\":1,\"b\":{\"c\":[\"x\",{}],\"d\":[]}}\n");
  CHECK(out ==
        "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      \"x\",\n      {}\n    ],\n    \"d\": []\n "
        " }\n}\n");
}

TEST_CASE("An entry of the journal becomes a line") {
  JournalEntry entry(20);
  entry.begin(1'705'329'121'500'000);
  for (const char* field : {"MESSAGE=out of stock, and more than fits", "PRIORITY=3", "_PID=42",
                            "_SYSTEMD_UNIT=shop.service", "ORDER_ID=A-1", "_CAP_EFFECTIVE=0",
                            "__CURSOR=x", "CODE_LINE=007", "broken"}) {
    entry.add(field);
  }
  CHECK(
      entry.finish() ==
      R"({"message":"out of stock, and mo","level":"error","process.pid":42,"systemd.unit":"shop.service","journald.order_id":"A-1","log.origin.file.line":"007","time":"2024-01-15T14:32:01.500Z"})"
      "\n");
  entry.begin(1);
  entry.add("_SOURCE_REALTIME_TIMESTAMP=1705329121000000");
  CHECK(entry.finish() == "{\"time\":\"2024-01-15T14:32:01.000Z\"}\n");
}

}  // namespace
}  // namespace pillion::logs
