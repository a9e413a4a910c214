// Redis, nginx, HAProxy, JSON, Jolokia, text: what their answers become.
#include <catch2/catch.hpp>

#include "adapters/metrics/formats/haproxy_csv.h"
#include "adapters/metrics/formats/json_fields.h"
#include "adapters/metrics/formats/nginx_status.h"
#include "adapters/metrics/formats/redis_info.h"
#include "adapters/metrics/formats/text_lines.h"
#include "adapters/metrics/model/exposition_text.h"

namespace pillion::metrics {
namespace {

// "name{labels} value" lines; a problem is a line of its own.
std::string lines_of(Result<Families> families) {
  if (!families) return "error: " + families.error().message() + "\n";
  Refused refused;
  Merge merge;
  merge.add("x", std::make_shared<Families>(finish(std::move(*families), {}, 10'000, refused)));
  const std::string all = merge.render(TextFormat::Prometheus, false);
  std::string lines;
  for (std::size_t at = 0; at < all.size();) {
    const auto end = all.find('\n', at);
    if (all[at] != '#') lines += all.substr(at, end + 1 - at);
    at = end + 1;
  }
  return lines;
}

bool has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("The page of stub_status") {
  const std::string text = lines_of(parse_nginx_status(
      "Active connections: 291 \nserver accepts handled requests\n 16630948 16630940 31070465 \n"
      "Reading: 6 Writing: 179 Waiting: 106 \n"));
  CHECK(has(text, "nginx_connections_active 291"));
  CHECK(has(text, "nginx_connections_handled_total 16630940"));
  CHECK(has(text, "nginx_http_requests_total 31070465"));
  CHECK(has(text, "nginx_connections_waiting 106"));
  CHECK(lines_of(parse_nginx_status("<html>404</html>")) ==
        "error: this is no page of stub_status\n");
}

TEST_CASE("HAProxy's CSV by its titles") {
  const std::string text = lines_of(
      parse_haproxy_csv("# pxname,svname,scur,stot,status,weight,type,hrsp_2xx,qtime,extra\n"
                        "web,FRONTEND,2,90,OPEN,,0,80,,\n"
                        "api,s1,1,44,UP 1/3,100,2,40,250,\"a,\"\"b\"\n"
                        "api,BACKEND,1,44,DOWN,100,1,40,2,\n"
                        "api,odd,1,44,UP,100,9,40,2,\n"));
  CHECK(has(text, "haproxy_frontend_current_sessions{proxy=\"web\"} 2"));
  CHECK(has(text, "haproxy_frontend_sessions_total{proxy=\"web\"} 90"));
  CHECK(has(text, "haproxy_frontend_status{proxy=\"web\",state=\"UP\"} 1"));
  CHECK(has(text,
            "haproxy_server_http_responses_total{code=\"2xx\",proxy=\"api\",server=\"s1\"} 40"));
  CHECK(has(text, "haproxy_server_queue_time_average_seconds{proxy=\"api\",server=\"s1\"} 0.25"));
  CHECK(has(text, "haproxy_server_status{proxy=\"api\",server=\"s1\",state=\"UP\"} 1"));
  CHECK(has(text, "haproxy_backend_status{proxy=\"api\",state=\"DOWN\"} 1"));
  CHECK(text.find("odd") == std::string::npos);
  CHECK(lines_of(parse_haproxy_csv("")) == "error: the answer is empty\n");
  CHECK(lines_of(parse_haproxy_csv("<html>")).starts_with("error: these are no statistics"));
}

TEST_CASE("Redis' INFO: numbers, words, databases, commands, replicas") {
  const std::string text = lines_of(parse_redis_info(
      "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Clients\r\n"
      "connected_clients:3\r\n# Memory\r\nused_memory:1024\r\n# Persistence\r\n"
      "rdb_last_bgsave_status:ok\r\n# Stats\r\ntotal_commands_processed:77\r\n"
      "latest_fork_usec:250\r\n# Replication\r\nrole:master\r\n"
      "slave0:ip=10.0.0.2,port=6379,state=online,offset=56,lag=1\r\n"
      "# Commandstats\r\ncmdstat_get:calls=4,usec=20,usec_per_call=5.00,rejected_calls=1,"
      "failed_calls=0\r\n# Latencystats\r\nlatency_percentiles_usec_get:p50=1.003,p99=5.015\r\n"
      "# Errorstats\r\nerrorstat_ERR:count=2\r\n# Keyspace\r\n"
      "db0:keys=10,expires=2,avg_ttl=1500\r\n"));
  CHECK(has(text, "redis_connected_clients 3"));
  CHECK(has(text, "redis_memory_used_bytes 1024"));
  CHECK(has(text, "redis_rdb_last_bgsave_status 1"));
  CHECK(has(text, "redis_commands_processed_total 77"));
  CHECK(has(text, "redis_latest_fork_seconds 0.00025"));
  CHECK(has(text, "redis_db_keys{db=\"db0\"} 10"));
  CHECK(has(text, "redis_db_avg_ttl_seconds{db=\"db0\"} 1.5"));
  CHECK(has(text, "redis_commands_total{cmd=\"get\"} 4"));
  CHECK(has(text, "redis_commands_rejected_calls_total{cmd=\"get\"} 1"));
  CHECK(has(text, "redis_errors_total{err=\"ERR\"} 2"));
  CHECK(has(text,
            "redis_connected_slave_lag_seconds{slave_ip=\"10.0.0.2\",slave_port=\"6379\","
            "slave_state=\"online\"} 1"));
  CHECK(has(text, "redis_command_latency_seconds_count{cmd=\"get\"} 4"));
  CHECK(has(text,
            "redis_instance_info{redis_mode=\"standalone\",redis_version=\"7.0.15\","
            "role=\"master\"} 1"));
  CHECK(lines_of(parse_redis_info("hello")) == "error: the answer is no INFO\n");
}

TEST_CASE("JSON without rules: every number, elements told apart") {
  config::JsonInput config;
  CHECK(lines_of(parse_json(R"({"upTime": 5, "ok": true, "name": "x", "pool": {"size": 2.5},
                               "load": [1, {"v": 3}]})",
                            config)) ==
        "load{index=\"0\"} 1\nload_v{index=\"1\"} 3\nok 1\npool_size 2.5\nup_time 5\n");
  CHECK(lines_of(parse_json("{", config)) == "error: the answer is no JSON\n");
  CHECK(lines_of(parse_json("{}", config)) ==
        "error: the answer holds none of the wanted numbers\n");
}

TEST_CASE("JSON with rules: stars, labels, words, scale, unit") {
  config::JsonInput config;
  config::JsonMetric depth;
  depth.path = "/queues/*/depth";
  depth.name = "queue_depth";
  depth.labels = {{"queue", "./name"}, {"place", "$1"}, {"site", "/site"}, {"kind", "fixed"}};
  config::JsonMetric state;
  state.path = "/checks/*/status";
  state.name = "check_up";
  state.labels = {{"check", "$1"}};
  state.values = {{"UP", 1}, {"DOWN", 0}};
  config::JsonMetric time;
  time.path = "/a~1b/0";
  time.name = "busy";
  time.type = config::ValueType::Counter;
  time.unit = "seconds";
  time.scale = 0.001;
  config.metrics = {depth, state, time};
  CHECK(lines_of(parse_json(R"({"site": "eu", "a/b": ["1500"],
    "queues": [{"name": "in", "depth": 4}, {"name": "out", "depth": 0}, {"name": "none"}],
    "checks": {"db": {"status": "UP"}, "mq": {"status": "DOWN"}, "x": {"status": "ODD"}}})",
                            config)) ==
        "queue_depth{kind=\"fixed\",place=\"0\",queue=\"in\",site=\"eu\"} 4\n"
        "queue_depth{kind=\"fixed\",place=\"1\",queue=\"out\",site=\"eu\"} 0\n"
        "check_up{check=\"db\"} 1\ncheck_up{check=\"mq\"} 0\nbusy_seconds_total 1.5\n");
  CHECK(find_path_problem("a/b") == "the path \"a/b\" does not begin with /");
}

TEST_CASE("Jolokia: composite values, patterns, failed reads") {
  config::JolokiaInput config;
  config::JolokiaRead heap;
  heap.mbean = "java.lang:type=Memory";
  heap.attributes = {"HeapMemoryUsage"};
  config::JolokiaRead collectors;
  collectors.mbean = "java.lang:type=GarbageCollector,name=*";
  collectors.attributes = {"CollectionCount", "CollectionTime"};
  collectors.type = config::ValueType::Counter;
  config::JolokiaRead gone;
  gone.mbean = "app:type=Gone";
  gone.name = "gone";
  config.reads = {heap, collectors, gone};
  CHECK(jolokia_request(config).find(R"("attribute":"HeapMemoryUsage")") != std::string::npos);
  const std::string answer = R"([
    {"status":200,"value":{"init":1,"used":20,"committed":30,"max":-1},"request":{}},
    {"status":200,"value":{
      "java.lang:name=G1 Young Generation,type=GarbageCollector":
        {"CollectionCount":7,"CollectionTime":120},
      "java.lang:name=\"G1, Old\",type=GarbageCollector": {"CollectionCount":1}}},
    {"status":404,"error":"javax.management.InstanceNotFoundException : app:type=Gone"}])";
  CHECK(lines_of(parse_jolokia(answer, config)) ==
        "java_lang_memory_heap_memory_usage_committed 30\n"
        "java_lang_memory_heap_memory_usage_init 1\njava_lang_memory_heap_memory_usage_max -1\n"
        "java_lang_memory_heap_memory_usage_used 20\n"
        "java_lang_garbage_collector_collection_count_total{name=\"G1, Old\"} 1\n"
        "java_lang_garbage_collector_collection_count_total{name=\"G1 Young Generation\"} 7\n"
        "java_lang_garbage_collector_collection_time_total{name=\"G1 Young Generation\"} 120\n");
  CHECK(lines_of(parse_jolokia(R"([{"status":404,"error":"no"},{"status":404},{"status":1}])",
                               config)) == "error: java.lang:type=Memory: no\n");
  CHECK(lines_of(parse_jolokia(R"({"status":403,"error":"denied"})", config)) ==
        "error: Jolokia answers: denied\n");
}

TEST_CASE("Text: lines that match, groups as labels") {
  config::TextInput config;
  config::TextMetric metric;
  metric.pattern = R"(^worker (?<worker>\w+): (?<value>[\d.]+) jobs)";
  metric.name = "jobs";
  metric.type = config::ValueType::Counter;
  metric.labels = {{"site", "eu"}};
  config.metrics = {metric};
  auto lines = TextLines::compile(config);
  REQUIRE(lines);
  CHECK(lines_of(lines->parse("worker a: 5 jobs\r\nother\nworker b: 7.5 jobs\n")) ==
        "jobs_total{site=\"eu\",worker=\"a\"} 5\njobs_total{site=\"eu\",worker=\"b\"} 7.5\n");
  CHECK(lines_of(lines->parse("none")) == "error: no line of the answer matches\n");
  config.metrics[0].pattern = "(";
  CHECK_FALSE(TextLines::compile(config));
  config.metrics[0].pattern = "a";
  CHECK(TextLines::compile(config).error().message() ==
        "pattern \"a\" has no group named value, such as (?<value>[0-9.]+)");
}

}  // namespace pillion::metrics
