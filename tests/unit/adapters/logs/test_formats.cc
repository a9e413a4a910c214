// Formats that have a name: lines as their programs write them, and the records they become; by
// name and as `auto` finds them.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/named_layouts.h"
#include "adapters/logs/encode/regex_format.h"
#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

using nlohmann::json;

struct Case {
  Format format;
  std::string line;
  json record;
  bool is_found_by_auto = true;
};

json record_of(const std::string& line, EncoderOptions options, const Kernel& kernel) {
  const auto records = encode(line + "\n", std::move(options), kernel);
  REQUIRE(records.size() == 1);
  return json::parse(records[0]);
}

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    for (const Kernel* kernel : kernels()) {
      INFO(kernel->name << ": " << c.line);
      CHECK(record_of(c.line, options_of(c.format), *kernel) == c.record);
      if (c.is_found_by_auto) {
        CHECK(record_of(c.line, options_of(Format::Auto), *kernel) == c.record);
      }
    }
  }
}

TEST_CASE("error logs of web servers") {
  check({
      {Format::NginxError,
       "2024/01/15 14:32:01 [error] 31#33: *41 open() \"/srv/x\" failed (2: No such file), client: "
       "::1",
       {{"@timestamp", "2024-01-15T14:32:01Z"},
        {"log.level", "error"},
        {"process.pid", 31},
        {"process.thread.id", 33},
        {"nginx.error.connection_id", 41},
        {"message", "open() \"/srv/x\" failed (2: No such file), client: ::1"}}},
      {Format::NginxError,
       "2024/01/15 14:32:01 [notice] 1#1: start worker process 31",
       {{"@timestamp", "2024-01-15T14:32:01Z"},
        {"log.level", "notice"},
        {"process.pid", 1},
        {"process.thread.id", 1},
        {"message", "start worker process 31"}}},
      {Format::ApacheError,
       "[Mon Jan 15 14:32:01.902022 2024] [core:error] [pid 35708:tid 4328636416] [client "
       "72.15.99.187:33018] File does not exist: /x",
       {{"@timestamp", "2024-01-15T14:32:01.902022Z"},
        {"apache.error.module", "core"},
        {"log.level", "error"},
        {"process.pid", 35708},
        {"process.thread.id", 4328636416},
        {"source.address", "72.15.99.187:33018"},
        {"message", "File does not exist: /x"}}},
      {Format::ApacheError,
       "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok",
       {{"@timestamp", "2005-12-04T04:47:44Z"},
        {"log.level", "notice"},
        {"message", "workerEnv.init() ok"}}},
  });
}

TEST_CASE("syslog, old and new") {
  check({
      {Format::Syslog3164,
       "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
       {{"@timestamp", "2023-10-11T22:14:15Z"},
        {"log.level", "critical"},
        {"log.syslog.priority", 34},
        {"host.hostname", "mymachine"},
        {"process.name", "su"},
        {"message", "'su root' failed for lonvick on /dev/pts/8"}}},
      {Format::Syslog3164,
       "Jan  5 09:01:05 calvisitor com.apple.CDScheduler[43]: Thermal pressure state: 1",
       {{"@timestamp", "2024-01-05T09:01:05Z"},
        {"host.hostname", "calvisitor"},
        {"process.name", "com.apple.CDScheduler"},
        {"process.pid", 43},
        {"message", "Thermal pressure state: 1"}}},
      {Format::Syslog3164,
       "2024-01-15T14:32:01.5+01:00 host app[7]: rsyslog's file format",
       {{"@timestamp", "2024-01-15T13:32:01.5Z"},
        {"host.hostname", "host"},
        {"process.name", "app"},
        {"process.pid", 7},
        {"message", "rsyslog's file format"}},
       false},
      {Format::Syslog5424,
       "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
       "[exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"lication\"][x@1 iut=\"4\"] "
       "\xEF\xBB\xBF"
       "An application event",
       {{"@timestamp", "2003-10-11T22:14:15.003Z"},
        {"log.level", "notice"},
        {"log.syslog.priority", 165},
        {"host.hostname", "mymachine.example.com"},
        {"process.name", "evntslog"},
        {"log.syslog.msgid", "ID47"},
        {"log.syslog.structured_data.exampleSDID@32473.iut", "3"},
        {"log.syslog.structured_data.exampleSDID@32473.eventSource", "App\"lication"},
        {"log.syslog.structured_data.x@1.iut", "4"},
        {"message", "An application event"}}},
      {Format::Syslog5424,
       "<34>1 - - su - - -",
       {{"@timestamp", "2024-01-15T14:32:05.000Z"},
        {"log.level", "critical"},
        {"log.syslog.priority", 34},
        {"process.name", "su"}}},
  });
}

TEST_CASE("Java programs as they are commonly configured") {
  check({
      {Format::Log4j,
       "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: "
       "Created x",
       {{"@timestamp", "2015-10-18T18:01:47.978Z"},
        {"log.level", "info"},
        {"process.thread.name", "main"},
        {"log.logger", "org.apache.hadoop.mapreduce.v2.app.MRAppMaster"},
        {"message", "Created x"}}},
      {Format::Log4j,
       "2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:2181:FastLeaderElection@774] - "
       "Notification time out: 3200",
       {{"@timestamp", "2015-07-29T17:41:44.747Z"},
        {"log.level", "info"},
        {"process.thread.name", "QuorumPeer[myid=1]/0:0:2181:FastLeaderElection@774"},
        {"message", "Notification time out: 3200"}}},
      {Format::Log4j,
       "17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers",
       {{"@timestamp", "2017-06-09T20:10:40Z"},
        {"log.level", "info"},
        {"log.logger", "executor.CoarseGrainedExecutorBackend"},
        {"message", "Registered signal handlers"}}},
      {Format::Log4j,
       "2024-01-15T14:32:01.123+01:00  WARN 4711 --- [           main] c.example.Orders         : "
       "low",
       {{"@timestamp", "2024-01-15T13:32:01.123Z"},
        {"log.level", "warn"},
        {"process.pid", 4711},
        {"process.thread.name", "main"},
        {"log.logger", "c.example.Orders"},
        {"message", "low"}}},
      {Format::Log4j,
       "14:32:01.123 [http-1] ERROR com.example.Orders - it broke",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"process.thread.name", "http-1"},
        {"log.level", "error"},
        {"log.logger", "com.example.Orders"},
        {"message", "it broke"}}},
      {Format::Log4j,
       "081109 203615 148 INFO dfs.DataNode$PacketResponder: terminating",
       {{"@timestamp", "2008-11-09T20:36:15Z"},
        {"process.pid", 148},
        {"log.level", "info"},
        {"log.logger", "dfs.DataNode$PacketResponder"},
        {"message", "terminating"}}},
      {Format::JavaGc,
       "[2024-01-15T14:32:01.123+0000][0.123s][info ][gc,start] GC(0) Pause Young (Normal)",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"jvm.uptime", "0.123s"},
        {"log.level", "info"},
        {"jvm.tags", "gc,start"},
        {"message", "GC(0) Pause Young (Normal)"}}},
      {Format::JavaGc,
       "[0.123s][info][gc] Using G1",
       {{"@timestamp", "2024-01-15T14:32:05.000Z"},
        {"jvm.uptime", 0.123},
        {"log.level", "info"},
        {"jvm.tags", "gc"},
        {"message", "Using G1"}}},
  });
}

TEST_CASE("glog, klog and Python's logging") {
  check({
      {Format::Glog,
       "E0115 14:32:01.123456    1234 server.cc:42] connection refused",
       {{"log.level", "error"},
        {"@timestamp", "2024-01-15T14:32:01.123456Z"},
        {"process.thread.id", 1234},
        {"log.origin.file.name", "server.cc"},
        {"log.origin.file.line", 42},
        {"message", "connection refused"}}},
      {Format::Python,
       "2024-01-15 14:32:01,123 - orders.stock - WARNING - low stock",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"log.logger", "orders.stock"},
        {"log.level", "warn"},
        {"message", "low stock"}}},
      {Format::Python,
       "WARNING:root:careful",
       {{"@timestamp", "2024-01-15T14:32:05.000Z"},
        {"log.level", "warn"},
        {"log.logger", "root"},
        {"message", "careful"}},
       false},
  });
}

TEST_CASE("databases and caches") {
  check({
      {Format::Postgresql,
       "2024-01-15 14:32:01.123 UTC [4711] LOG:  database system is ready to accept connections",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"process.pid", 4711},
        {"log.level", "info"},
        {"message", "database system is ready to accept connections"}}},
      {Format::Postgresql,
       "2024-01-15 14:32:01.123 CET [4711] app@orders FATAL:  role \"app\" does not exist",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"process.pid", 4711},
        {"user.name", "app"},
        {"postgresql.log.database", "orders"},
        {"log.level", "fatal"},
        {"message", "role \"app\" does not exist"}}},
      {Format::Mysql,
       "2024-01-15T14:32:01.123456Z 8 [Warning] [MY-010055] [Server] IP address could not be "
       "resolved",
       {{"@timestamp", "2024-01-15T14:32:01.123456Z"},
        {"mysql.thread_id", 8},
        {"log.level", "warn"},
        {"error.code", "MY-010055"},
        {"mysql.error.subsystem", "Server"},
        {"message", "IP address could not be resolved"}}},
      {Format::Mysql,
       "2024-01-15 14:32:01 0 [Note] InnoDB: Buffer pool(s) load completed",
       {{"@timestamp", "2024-01-15T14:32:01Z"},
        {"mysql.thread_id", 0},
        {"log.level", "notice"},
        {"message", "InnoDB: Buffer pool(s) load completed"}}},
      {Format::Redis,
       "1234:M 15 Jan 2024 14:32:01.123 * Ready to accept connections",
       {{"process.pid", 1234},
        {"redis.log.role", "M"},
        {"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"log.level", "notice"},
        {"message", "Ready to accept connections"}}},
  });
}

TEST_CASE("proxies") {
  check({
      {Format::Haproxy,
       "Feb  6 12:14:14 localhost haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] "
       "http-in "
       "static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} \"GET /index.html "
       "HTTP/1.1\"",
       {{"host.hostname", "localhost"},
        {"process.name", "haproxy"},
        {"process.pid", 14389},
        {"source.address", "10.0.1.2"},
        {"source.port", 33317},
        {"@timestamp", "2009-02-06T12:14:14.655Z"},
        {"haproxy.frontend_name", "http-in"},
        {"haproxy.backend_name", "static"},
        {"haproxy.server_name", "srv1"},
        {"haproxy.timers", "10/0/30/69/109"},
        {"http.response.status_code", 200},
        {"http.response.bytes", 2750},
        {"haproxy.termination_state", "----"},
        {"haproxy.connections", "1/1/1/1/0"},
        {"haproxy.queues", "0/0"},
        {"haproxy.http.request.captured_headers", "1wt.eu"},
        {"http.request.method", "GET"},
        {"url.original", "/index.html"},
        {"http.version", 1.1}}},
      {Format::Envoy,
       "[2024-01-15T14:32:01.123Z] \"GET /x HTTP/1.1\" 200 - 0 11 5 4 \"-\" \"curl/8\" \"req-1\" "
       "\"host\" \"127.0.0.1:8080\"",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"http.request.method", "GET"},
        {"url.original", "/x"},
        {"http.version", "HTTP/1.1"},
        {"http.response.status_code", 200},
        {"http.request.body.bytes", 0},
        {"http.response.body.bytes", 11},
        {"envoy.duration_ms", 5},
        {"envoy.upstream_service_time_ms", 4},
        {"user_agent.original", "curl/8"},
        {"http.request.id", "req-1"},
        {"url.domain", "host"},
        {"server.address", "127.0.0.1:8080"}}},
      {Format::Envoy,
       "[2024-01-15T14:32:01.123Z] \"POST /x HTTP/2\" 503 UF upstream_reset - \"-\" 7 91 3 - "
       "\"::1\" "
       "\"curl/8\" \"req-1\" \"host\" \"-\"",
       {{"@timestamp", "2024-01-15T14:32:01.123Z"},
        {"http.request.method", "POST"},
        {"url.original", "/x"},
        {"http.version", "HTTP/2"},
        {"http.response.status_code", 503},
        {"envoy.response_flags", "UF"},
        {"envoy.response_code_details", "upstream_reset"},
        {"http.request.body.bytes", 7},
        {"http.response.body.bytes", 91},
        {"envoy.duration_ms", 3},
        {"client.address", "::1"},
        {"user_agent.original", "curl/8"},
        {"http.request.id", "req-1"},
        {"url.domain", "host"}}},
  });
}

TEST_CASE("columns: CSV, LTSV, loose pairs") {
  const auto csv = [](const std::string& line) {
    EncoderOptions options = options_of(Format::Csv);
    options.columns = {"time", "level", "user", "message"};
    return record_of(line, std::move(options), kBaselineKernel);
  };
  CHECK(csv("2024-01-15 14:32:01,WARN,7,\"he said \"\"no\"\", twice\"") ==
        json({{"@timestamp", "2024-01-15T14:32:01Z"},
              {"log.level", "warn"},
              {"user", 7},
              {"message", "he said \"no\", twice"}}));
  CHECK(csv("2024-01-15 14:32:01,WARN,7").at("error.message") ==
        "fewer values than columns in `pattern`");
  CHECK(csv("a,b,c,d,e").at("error.message") == "more values than columns in `pattern`");
  CHECK(csv("a,b,c,\"d").at("error.message") == "a quote is not closed");
  check({
      {Format::Ltsv,
       "time:15/Jan/2024:14:32:01 +0000\thost:::1\tstatus:200\tsize:-",
       {{"@timestamp", "2024-01-15T14:32:01Z"}, {"host", "::1"}, {"status", 200}, {"size", "-"}},
       false},
      {Format::KeyValue,
       "level: warn, user = \"a, b\"; took=5 | free text",
       {{"@timestamp", "2024-01-15T14:32:05.000Z"},
        {"log.level", "warn"},
        {"user", "a, b"},
        {"took", 5},
        {"message", "free text"}},
       false},
  });
}

TEST_CASE("a layout of the user's own") {
  const auto with = [](const std::string& pattern, const std::string& line) {
    EncoderOptions options = options_of(Format::Pattern);
    auto layout = Layout::compile(pattern);
    REQUIRE(layout.has_value());
    options.layout = std::make_shared<const Layout>(std::move(*layout));
    return record_of(line, std::move(options), kernel_for_this_cpu());
  };
  CHECK(with("%{time}|%{level}|%{user}|%{took:number}ms|%{message}",
             "2024-01-15 14:32:01|WARN|ann lee|12.5ms|it is | slow") ==
        json({{"@timestamp", "2024-01-15T14:32:01Z"},
              {"log.level", "warn"},
              {"user", "ann lee"},
              {"took", 12.5},
              {"message", "it is | slow"}}));
  CHECK(with("%{}:%(<%{a}>%) %{pairs}", "skip: x=1 text") ==
        json({{"@timestamp", "2024-01-15T14:32:05.000Z"}, {"x", 1}, {"message", "text"}}));
  CHECK(with("%{time} %{message}", "no time").at("tags") == json({"_parsefailure"}));
  CHECK(Layout::compile("%{a}%{b}").error().message() ==
        "%{a} must be followed by text, or say where it ends: %{a:word}");
  CHECK(Layout::compile("x %{a:worf}").error().message() ==
        "character 3: unknown type \"worf\" (legal: word, tag, logger, number, quoted, sd, rest)");
  CHECK(Layout::compile("x %(a").error().message() == "character 3: %( without %)");
  CHECK(Layout::compile("100%").error().message() == "character 4: % is followed by {, (, ) or %");
  CHECK(Layout::compile("").error().message() == "the layout is empty");
}

TEST_CASE("every name in a layout has room behind it for the encoder's steps") {
  const auto check = [](const std::vector<Layout>& layouts) {
    for (const Layout& layout : layouts) {
      for (const LayoutStep& step : layout.steps) {
        CHECK(step.text.capacity() >= step.text.size() + 64);
      }
    }
  };
  for (const Format format : detectable_layouts()) {
    REQUIRE_FALSE(named_layouts(format).all.empty());
    check(named_layouts(format).all);
    check(named_layouts(format).certain);
  }
}

TEST_CASE("a regular expression of the user's own") {
  const auto with = [](const std::string& pattern, const std::string& line) {
    EncoderOptions options = options_of(Format::Regex);
    auto regex = RegexFormat::compile(pattern);
    REQUIRE(regex.has_value());
    options.regex = *regex;
    return record_of(line, std::move(options), kernel_for_this_cpu());
  };
  CHECK(with(R"(^(?<time>\S+) (?<level>\w+) user=(?<user>\w+)(?: (?<extra>x))?)",
             "2024-01-15T14:32:01Z W user=7") ==
        json({{"@timestamp", "2024-01-15T14:32:01Z"}, {"log.level", "warn"}, {"user", 7}}));
  CHECK(
      with("%{IP:client.ip} %{WORD:http.request.method} %{NUMBER:took:float} %{GREEDYDATA:message}",
           "10.0.0.1 GET 1.5 all the rest") == json({{"@timestamp", "2024-01-15T14:32:05.000Z"},
                                                     {"client.ip", "10.0.0.1"},
                                                     {"http.request.method", "GET"},
                                                     {"took", 1.5},
                                                     {"message", "all the rest"}}));
  CHECK(with("^(?<a>x+x+)+y", std::string(40, 'x') + "zy").at("error.message") ==
        "the regular expression backtracks too much on this line");
  CHECK(with("^(?<a>b)", "c").at("error.message") == "the regular expression does not match");
  CHECK(RegexFormat::compile("(?<a>b").error().message() ==
        "character 7: missing closing parenthesis");
  CHECK(RegexFormat::compile("%{NOPE:x}").error().message() ==
        "character 1: unknown pattern %{NOPE}");
  CHECK(RegexFormat::compile("abc").error().message() ==
        "no named group: write (?<field>…) or %{PATTERN:field}");
}

TEST_CASE("a time without year is in the year that ends a day from now") {
  check({
      {Format::Syslog3164,
       "Jan 16 14:00:00 h a: b",  // observed on the 15th at 14:32:05
       {{"@timestamp", "2024-01-16T14:00:00Z"},
        {"host.hostname", "h"},
        {"process.name", "a"},
        {"message", "b"}}},
      {Format::Syslog3164,
       "Jan 16 15:00:00 h a: b",
       {{"@timestamp", "2023-01-16T15:00:00Z"},
        {"host.hostname", "h"},
        {"process.name", "a"},
        {"message", "b"}}},
      {Format::Syslog3164,
       "Feb 29 15:00:00 h a: b",
       {{"@timestamp", "2020-02-29T15:00:00Z"},
        {"host.hostname", "h"},
        {"process.name", "a"},
        {"message", "b"}}},
      {Format::Log4j,
       "23:59:59 [m] INFO a.b - c",  // of yesterday
       {{"@timestamp", "2024-01-14T23:59:59Z"},
        {"process.thread.name", "m"},
        {"log.level", "info"},
        {"log.logger", "a.b"},
        {"message", "c"}}},
  });
}

}  // namespace
}  // namespace pillion::logs::test
