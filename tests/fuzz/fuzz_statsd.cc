// Statsd datagrams: whatever comes, what is shown reads back sample for sample, within the limit.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "adapters/metrics/formats/exposition_parser.h"
#include "adapters/metrics/model/exposition_text.h"
#include "adapters/metrics/statsd/statsd_store.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pillion::metrics;
  constexpr std::size_t kSeriesMax = 20;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  SeriesBudget budget(kSeriesMax);
  {
    pillion::config::StatsdInput config;
    pillion::config::StatsdMapping mapping;
    mapping.match = "*.a*.b";
    mapping.name = "$2_$1";
    mapping.labels = {{"l", "$1$3"}};
    config.mappings.push_back(mapping);
    config.ttl = std::chrono::seconds(1);
    StatsdStore store(config, {}, budget);
    store.take(text, {1000, 1});
    PILLION_ASSERT(store.series() <= kSeriesMax && budget.used() == store.series());
    Merge merge;
    merge.add("statsd", store.snapshot({1500, 2}));
    for (const TextFormat format : {TextFormat::Prometheus, TextFormat::OpenMetrics}) {
      PILLION_ASSERT(parse_exposition(merge.render(format, true), {}).has_value());
    }
    store.expire({5000, 3});
    PILLION_ASSERT(store.series() == 0);
  }
  PILLION_ASSERT(budget.used() == 0);
  return 0;
}
