// Checks within the metrics adapter's tables.
#include <algorithm>
#include <set>

#include "config/validate.h"

namespace pillion::config {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_label_name(std::string_view name) {
  return !name.empty() && is_letter(name.front()) && !name.starts_with("__") &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

void check_labels(Reader& reader, const Node& node,
                  const std::map<std::string, std::string>& labels) {
  for (const auto& [name, value] : labels) {
    if (is_label_name(name)) continue;
    reader.error(position_of(node, "labels." + name), "`" + name + "` is no name for a label",
                 {"it must be letters, digits and `_`, and not begin with a digit or `__`"});
  }
}

void check_prefix(Reader& reader, const Node& node, const std::string& prefix) {
  const bool is_good = std::all_of(prefix.begin(), prefix.end(),
                                   [](char c) { return is_letter(c) || is_digit(c) || c == ':'; });
  if (prefix.empty() || (is_good && !is_digit(prefix.front()))) return;
  reader.error(position_of(node, "prefix"), "`prefix` holds \"" + prefix + "\"",
               {"it must be letters, digits, `_` and `:`, and not begin with a digit"});
}

void check_rising(Reader& reader, const Node& node, std::string_view key,
                  const std::vector<double>& numbers) {
  const bool is_rising =
      std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>()) == numbers.end();
  if (is_rising) return;
  reader.error(position_of(node, key),
               "`" + std::string(key) + "` must rise from each to the next");
}

const Node& item_of(const Node& node, std::string_view key, std::size_t index) {
  const Node* list = node.find(key);
  return list != nullptr && index < list->items.size() ? list->items[index] : node;
}

std::string_view kind_of(const MetricsInput& input) {
  if (input.statsd) return "statsd";
  if (input.json) return "json";
  if (input.text) return "text";
  if (input.jolokia) return "jolokia";
  if (input.redis) return "redis";
  if (input.nginx) return "nginx";
  if (input.haproxy) return "haproxy";
  if (input.postgresql) return "postgresql";
  return "prometheus";
}

}  // namespace

void check_statsd(Reader& reader, const Node& node, StatsdInput& statsd) {
  if (!statsd.udp && !statsd.tcp && !statsd.socket && !node.find("udp") && !node.find("tcp") &&
      !node.find("socket")) {
    reader.missing(node.position, reader.table_name() + " needs `udp`, `tcp` or `socket`");
  }
  check_rising(reader, node, "buckets", statsd.buckets);
  check_rising(reader, node, "quantiles", statsd.quantiles);
  for (std::size_t i = 0; i < statsd.mappings.size(); ++i) {
    const Node& item = item_of(node, "mapping", i);
    check_labels(reader, item, statsd.mappings[i].labels);
    check_rising(reader, item, "buckets", statsd.mappings[i].buckets);
    check_rising(reader, item, "quantiles", statsd.mappings[i].quantiles);
  }
}

void check_haproxy(Reader& reader, const Node& node, HaproxyInput& haproxy) {
  if (!haproxy.url.empty() || haproxy.socket || node.find("url") || node.find("socket")) return;
  reader.missing(node.position, reader.table_name() + " needs `url` or `socket`");
}

void check_sql_query(Reader& reader, const Node& node, SqlQuery& query) {
  if (query.counters.empty() && query.gauges.empty() && !node.find("counters") &&
      !node.find("gauges")) {
    reader.missing(node.position, reader.table_name() + " needs `counters`, `gauges` or both");
  }
  std::set<std::string_view> seen;
  for (const auto* columns : {&query.labels, &query.counters, &query.gauges}) {
    for (const std::string& column : *columns) {
      if (seen.insert(column).second) continue;
      reader.error(node.position, "the column `" + column + "` is named twice");
    }
  }
}

void check_metrics(Reader& reader, const Node& node, MetricsConfig& metrics) {
  check_labels(reader, node, metrics.labels);
  std::set<std::string> names;
  for (std::size_t i = 0; i < metrics.inputs.size(); ++i) {
    MetricsInput& input = metrics.inputs[i];
    const Node& item = item_of(node, "input", i);
    check_labels(reader, item, input.labels);
    check_prefix(reader, item, input.prefix);
    if (input.name.empty()) {
      const std::string kind(kind_of(input));
      input.name = kind;
      for (unsigned n = 2; names.contains(input.name); ++n) {
        input.name = kind + "-" + std::to_string(n);
      }
    }
    if (!names.insert(input.name).second) {
      reader.error(position_of(item, "name"), "two inputs are named `" + input.name + "`",
                   {"the name tells them apart in pillion_metrics_source_up and in errors"});
    }
    if (input.timeout > input.period && !input.statsd) {
      reader.warning(position_of(item, "timeout"), "`timeout` is longer than `period`",
                     {"the next poll begins when the one before has ended"});
    }
  }
}

}  // namespace pillion::config
