// Records of the access log as whole texts.
#include "proxy/access_log.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "runtime/fd.h"

using namespace pillion;
using namespace pillion::proxy;

namespace {

AccessRecord make_record() {
  AccessRecord record;
  record.wall_ns = 1'705'329'121'045'000'000;
  record.direction = "inbound";
  record.method = "GET";
  record.path = "/a?b=\"c\"";
  record.authority = "shop";
  record.status = 200;
  record.protocol = "HTTP/1.1";
  record.bytes_sent = 120;
  record.duration_ns = 2'345'678;
  record.upstream_ns = 2'000'000;
  record.upstream = "app";
  record.upstream_address = "127.0.0.1:8080";
  record.downstream_address = "10.0.0.9:41000";
  record.request_id = "id-1";
  record.details = "via_upstream";
  record.attempts = 1;
  record.is_connection_reused = true;
  return record;
}

}  // namespace

TEST_CASE("an exchange is one line of JSON") {
  AccessFormatter formatter(config::AccessLogFormat::Json);
  std::string out;
  formatter.append(out, make_record());
  CHECK(
      out ==
      "{\"timestamp\":\"2024-01-15T14:32:01.045Z\",\"direction\":\"inbound\",\"method\":\"GET\","
      "\"path\":\"/a?b=\\\"c\\\"\",\"authority\":\"shop\",\"status\":200,\"protocol\":\"HTTP/1.1\","
      "\"bytes_received\":0,\"bytes_sent\":120,\"duration_ms\":2.345,\"upstream_ms\":2.000,"
      "\"proxy_ms\":0.345,\"upstream\":\"app\",\"upstream_address\":\"127.0.0.1:8080\","
      "\"downstream_address\":\"10.0.0.9:41000\",\"request_id\":\"id-1\",\"response_flags\":\"\","
      "\"response_code_details\":\"via_upstream\",\"attempts\":1,\"reused_connection\":true}\n");
}

TEST_CASE("what JSON does not allow in a string is escaped wherever it stands") {
  const std::pair<char, std::string> specials[] = {
      {'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\x01', "\\u0001"}, {'\xff', "\xef\xbf\xbd"}};
  AccessFormatter formatter(config::AccessLogFormat::Json);
  for (std::size_t size = 1; size <= 20; ++size) {
    for (std::size_t place = 0; place < size; ++place) {
      for (const auto& [special, escaped] : specials) {
        std::string path(size, 'a');
        path[place] = special;
        AccessRecord record = make_record();
        record.path = path;
        std::string out;
        formatter.append(out, record);
        const std::string expected = "\"path\":\"" + std::string(place, 'a') + escaped +
                                     std::string(size - place - 1, 'a') + "\"";
        REQUIRE(out.find(expected) != std::string::npos);
      }
    }
  }
}

TEST_CASE("a line holds what is longer than most") {
  AccessFormatter formatter(config::AccessLogFormat::Json);
  const std::string path(60'000, '"');
  AccessRecord record = make_record();
  record.path = path;
  std::string out;
  formatter.append(out, record);
  CHECK(out.size() > 2 * path.size());
  CHECK(out.substr(out.size() - 26) == "\"reused_connection\":true}\n");
}

TEST_CASE("bytes that are no UTF-8 still make valid JSON, and a TCP line has no request") {
  AccessFormatter formatter(config::AccessLogFormat::Json);
  AccessRecord record = make_record();
  record.authority = "\xff\xfe";
  std::string out;
  formatter.append(out, record);
  CHECK(out.find("\"authority\":\"\xef\xbf\xbd") != std::string::npos);
  record.method = {};
  record.status = 0;
  record.request_id = {};
  out.clear();
  formatter.append(out, record);
  CHECK(out.find("method") == std::string::npos);
  CHECK(out.find("status") == std::string::npos);
}

TEST_CASE("lines are written by another thread, and dropped beyond the buffer") {
  const std::string path = "/tmp/pillion-access-log-" + std::to_string(getpid());
  config::AccessLog options;
  options.path = path;
  options.buffer = config::Bytes{64};
  {
    auto log = AccessLog::create(options);
    REQUIRE(log.has_value());
    std::string lines(100, 'x');
    lines += "\n\n";
    (*log)->submit(lines);
    CHECK((*log)->lines_dropped() == 2);
    CHECK(lines.empty());
    lines = "kept\n";
    (*log)->submit(lines);
  }
  CHECK(*read_file(path) == "kept\n");
  std::filesystem::remove(path);
}
