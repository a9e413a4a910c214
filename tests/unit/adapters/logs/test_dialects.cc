// What receivers get: values read back from records, Loki streams, OTLP, syslog lines; and what
// their answers mean.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "adapters/logs/encode/record_values.h"
#include "adapters/logs/output/loki.h"
#include "adapters/logs/output/ndjson.h"
#include "adapters/logs/output/otlp.h"
#include "adapters/logs/output/otlp_record.h"
#include "adapters/logs/output/syslog_line.h"

namespace pillion::logs {
namespace {

using nlohmann::json;

RecordBuffer buffer_of(const std::vector<std::string>& records) {
  RecordBuffer buffer;
  for (const auto& record : records) {
    const std::string line = record + "\n";
    char* const place = buffer.reserve(line.size());
    line.copy(place, line.size());
    buffer.end_record(place + line.size());
  }
  return buffer;
}

HttpClient::Response answer(int status, std::string body = "") {
  HttpClient::Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

const std::string kFull =
    R"({"@timestamp":"2024-01-15T14:32:01.25Z","log.level":"warn","message":"low \"stock\"\n\u00e9\ud83d\ude00",)"
    R"("sku":"A-1","left":3,"ratio":-0.5,"ok":true,"none":null,"deep":{"a":[1,{"b":"]"}],"c":{}},"list":[],)"
    R"("trace.id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331",)"
    R"("process.thread.name":"main","service.name":"orders","host.name":"vm"})";

}  // namespace

TEST_CASE("Values of a record are read back") {
  CHECK(unix_nanoseconds("\"2024-01-15T14:32:01Z\"") == 1705329121'000'000'000);
  CHECK(unix_nanoseconds("\"2024-02-29T00:00:00.123456789Z\"") == 1709164800'123'456'789);
  CHECK(unix_nanoseconds("\"1969-12-31T23:59:59.5Z\"") == -500'000'000);
  CHECK(unix_nanoseconds("17") == 0);
  CHECK(unix_nanoseconds("\"noon\"") == 0);
  CHECK(unescaped(R"("a\n\t\"\\\/\u0041\u00e9\ud83d\ude00\ud83dx")") ==
        "a\n\t\"\\/A\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbdx");
}

TEST_CASE("Loki: a stream per service, host and level, times in nanoseconds") {
  const auto dialect = make_loki_dialect({"http://loki", "shop", {{"zone", "eu"}, {"host", "h1"}}});
  const auto body = json::parse(dialect->body(buffer_of(
      {kFull, R"({"@timestamp":"2024-01-15T14:32:02Z","service.name":"orders","host.name":"vm"})",
       kFull})));
  REQUIRE(body["streams"].size() == 2);
  const auto& with_level = body["streams"][body["streams"][0]["stream"].contains("level") ? 0 : 1];
  CHECK(with_level["stream"] ==
        json({{"zone", "eu"}, {"host", "h1"}, {"level", "warn"}, {"service_name", "orders"}}));
  REQUIRE(with_level["values"].size() == 2);
  CHECK(with_level["values"][0][0] == "1705329121250000000");
  CHECK(with_level["values"][0][1] == kFull);
  CHECK(dialect->url() == "http://loki/loki/api/v1/push");
  CHECK(dialect->headers().back().value == "shop");
  CHECK(dialect->judge(answer(204), 3).kind == Answer::Kind::Done);
  CHECK(dialect->judge(answer(400, "entry too far behind"), 3).kind == Answer::Kind::Halve);
  CHECK(dialect->judge(answer(429), 3).kind == Answer::Kind::Retry);
  CHECK(dialect->judge(answer(401), 3).kind == Answer::Kind::Hold);
}

TEST_CASE("OTLP as JSON: places of the data model, resource, nested values") {
  const auto dialect = make_otlp_dialect({"http://otel:4318", {}, false});
  const auto body = json::parse(dialect->body(
      buffer_of({kFull, R"({"@timestamp":"2024-01-15T14:32:02Z","service.name":"other"})"})));
  REQUIRE(body["resourceLogs"].size() == 2);
  const auto& logs = body["resourceLogs"][0]["resource"]["attributes"].size() == 2
                         ? body["resourceLogs"][0]
                         : body["resourceLogs"][1];
  CHECK(logs["resource"]["attributes"] ==
        json::parse(R"([{"key":"service.name","value":{"stringValue":"orders"}},
                        {"key":"host.name","value":{"stringValue":"vm"}}])"));
  const auto& record = logs["scopeLogs"][0]["logRecords"][0];
  CHECK(record["timeUnixNano"] == "1705329121250000000");
  CHECK(record["severityNumber"] == 13);
  CHECK(record["severityText"] == "warn");
  CHECK(record["body"]["stringValue"] == "low \"stock\"\n\u00e9\U0001f600");
  CHECK(record["traceId"] == "0af7651916cd43dd8448eb211c80319c");
  CHECK(record["spanId"] == "b7ad6b7169203331");
  json attributes;
  for (const auto& attribute : record["attributes"]) {
    attributes[attribute["key"].get<std::string>()] = attribute["value"];
  }
  CHECK(attributes["sku"]["stringValue"] == "A-1");
  CHECK(attributes["left"]["intValue"] == "3");
  CHECK(attributes["ratio"]["doubleValue"] == -0.5);
  CHECK(attributes["ok"]["boolValue"] == true);
  CHECK(attributes["none"].empty());
  CHECK(attributes["thread.name"]["stringValue"] == "main");
  CHECK(attributes["list"]["arrayValue"]["values"].empty());
  const auto& deep = attributes["deep"]["kvlistValue"]["values"];
  CHECK(deep[0]["value"]["arrayValue"]["values"][1]["kvlistValue"]["values"][0]["value"]
            ["stringValue"] == "]");
  CHECK(attributes.size() == 8);
}

TEST_CASE("OTLP as Protobuf: known bytes") {
  // Encoded by hand after logs.proto: time 1, severity 9 "info", body "m", attribute k = 300.
  const std::string record =
      OtlpRecord::of(
          R"({"@timestamp":"1970-01-01T00:00:00.000000001Z","log.level":"info","message":"m","k":300})")
          .protobuf();
  const std::string body = std::string("\x09\x01\0\0\0\0\0\0\0", 9) + "\x10\x09" + "\x1a\x04info" +
                           "\x2a\x03\x0a\x01m" + "\x32\x08\x0a\x01k\x12\x03\x18\xac\x02";
  CHECK(record == "\x12" + std::string(1, static_cast<char>(body.size())) + body);
  CHECK(OtlpRecord::of(R"({"service.name":"s"})").resource_protobuf() ==
        "\x0a\x13\x0a\x0cservice.name\x12\x03\x0a\x01s");
}

TEST_CASE("OTLP: what is refused within a 200 is counted and not sent again") {
  const auto as_json = make_otlp_dialect({"u", {}, false});
  auto verdict = as_json->judge(
      answer(200, R"({"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}})"), 3);
  CHECK(verdict.kind == Answer::Kind::Done);
  CHECK(verdict.rejected == 2);
  CHECK(verdict.why == "too old");
  CHECK(as_json->judge(answer(200, "{}"), 3).rejected == 0);
  CHECK(as_json->judge(answer(200, "not json"), 3).rejected == 0);
  const auto as_protobuf = make_otlp_dialect({"u", {}, true});
  verdict = as_protobuf->judge(answer(200, "\x0a\x0b\x08\x02\x12\x07too old"), 3);
  CHECK(verdict.rejected == 2);
  CHECK(verdict.why == "too old");
  CHECK(as_protobuf->judge(answer(200, ""), 3).rejected == 0);
  CHECK(
      as_protobuf->judge(answer(200, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 3).rejected ==
      0);
  CHECK(as_protobuf->judge(answer(503), 3).kind == Answer::Kind::Retry);
}

TEST_CASE("HTTP: lines, or one array") {
  const auto records = buffer_of({R"({"a":1})", R"({"b":2})"});
  CHECK(make_ndjson_dialect({"u", {}, false})->body(records) == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(make_ndjson_dialect({"u", {}, true})->body(records) == R"([{"a":1},{"b":2}])");
  CHECK(make_ndjson_dialect({"https://u/x?token=secret", {}, true})->name() == "http https://u/x");
}

TEST_CASE("Syslog: header, structured data, message") {
  CHECK(syslog_line(kFull, {}) ==
        "<12>1 2024-01-15T14:32:01.25Z vm orders - - [fields@32473 sku=\"A-1\" left=\"3\" "
        "ratio=\"-0.5\" ok=\"true\" none=\"null\" deep=\"{\\\"a\\\":[1,{\\\"b\\\":\\\"\\]\\\"}\\],"
        "\\\"c\\\":{}}\" list=\"[\\]\" trace.id=\"0af7651916cd43dd8448eb211c80319c\" "
        "span_id=\"b7ad6b7169203331\" process.thread.name=\"main\"] low \"stock\"\n\xc3\xa9"
        "\xf0\x9f\x98\x80");
  CHECK(
      syslog_line(
          R"({"@timestamp":"2024-01-15T14:32:01.123456789Z","log.level":"fatal","message":"x","process.name":"su do","process.pid":7,"host.hostname":"web","host.name":"vm","service.name":"s"})",
          {.facility = 4}) ==
      "<32>1 2024-01-15T14:32:01.123456Z web su_do 7 - [fields@32473 service.name=\"s\"] x");
  CHECK(syslog_line(R"({"@timestamp":"2024-01-15T14:32:01Z"})", {}) ==
        "<14>1 2024-01-15T14:32:01Z - - - - -");
  CHECK(syslog_line(R"({"message":"caf\u00e9s"})", {.facility = 1, .bytes_max = 21}) ==
        "<14>1 - - - - - - caf");
}

}  // namespace pillion::logs
