// Answers of Redis, HAProxy, nginx, Prometheus and JSON sources: no parser breaks, and what is made
// of them is a document that reads back. The first byte chooses the parser.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "adapters/metrics/formats/exposition_parser.h"
#include "adapters/metrics/formats/haproxy_csv.h"
#include "adapters/metrics/formats/json_fields.h"
#include "adapters/metrics/formats/nginx_status.h"
#include "adapters/metrics/formats/redis_info.h"
#include "adapters/metrics/model/exposition_text.h"
#include "adapters/metrics/output/otlp_metrics.h"
#include "runtime/otlp_response.h"

namespace {

using namespace pillion::metrics;

pillion::Result<Families> parse(char kind, std::string_view text) {
  switch (kind) {
    case 'r': return parse_redis_info(text);
    case 'h': return parse_haproxy_csv(text);
    case 'n': return parse_nginx_status(text);
    case 'p': return parse_exposition(text, {});
    case 'o':
      pillion::read_otlp_response(text, true, "rejectedDataPoints");
      pillion::read_otlp_response(text, false, "rejectedDataPoints");
      return Families();
    case 'k': {
      pillion::config::JolokiaInput jolokia;
      jolokia.reads.emplace_back().mbean = "java.lang:type=*";
      return parse_jolokia(text, jolokia);
    }
    default: {
      pillion::config::JsonInput json;
      if (kind == 'm') {
        auto& metric = json.metrics.emplace_back();
        metric.path = "/*/a";
        metric.name = "a";
        metric.labels = {{"k", "$1"}, {"n", "./n"}, {"t", "/t"}};
      }
      return parse_json(text, json);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  auto families =
      parse(static_cast<char>(data[0]), {reinterpret_cast<const char*>(data) + 1, size - 1});
  if (!families) return 0;
  Refused refused;
  auto finished = std::make_shared<Families>(finish(std::move(*families), {}, 1000, refused));
  Merge merge;
  merge.add("source", finished);
  for (const TextFormat format : {TextFormat::Prometheus, TextFormat::OpenMetrics}) {
    PILLION_ASSERT(parse_exposition(merge.render(format, true), {}).has_value());
  }
  StartTimes starts;
  for (const bool is_protobuf : {false, true}) {
    PILLION_ASSERT(!otlp_request(merge, {}, is_protobuf, starts, 1).body.empty());
  }
  return 0;
}
