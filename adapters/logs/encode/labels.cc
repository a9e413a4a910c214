#include "adapters/logs/encode/labels.h"

#include <algorithm>
#include <initializer_list>

#include "adapters/logs/encode/record_fields.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

// Groups of ECS 8 that formats, enrichment or apps fill (https://www.elastic.co/guide/en/ecs/8.11).
constexpr std::string_view kGroups[] = {
    "agent",       "apache",  "client",      "cloud",      "container",    "data_stream",
    "destination", "dns",     "ecs",         "error",      "event",        "faas",
    "file",        "geo",     "group",       "haproxy",    "host",         "http",
    "journald",    "jvm",     "k8s",         "kubernetes", "labels",       "log",
    "mysql",       "network", "nginx",       "observer",   "orchestrator", "organization",
    "package",     "pillion", "postgresql",  "process",    "redis",        "related",
    "server",      "service", "source",      "span",       "systemd",      "threat",
    "tls",         "trace",   "transaction", "url",        "user",         "user_agent",
    "deployment",  "envoy"};
constexpr std::string_view kPlain[] = {"@timestamp", "message", "tags", "labels", "stream"};

template<class Names>
bool is_one_of(std::string_view name, const Names& names) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string label_name(std::string_view path) {
  std::string name(path);
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

// Adds `"name":"text",` for a value, or for each within an object.
void add_labels(const std::string& path, std::string_view value, std::string& out) {
  if (value.starts_with('{')) {
    RecordFields members(value);
    for (RecordField member; members.next(member);) {
      add_labels(path + "." + std::string(member.key), member.value, out);
    }
    return;
  }
  if (value == "null") return;
  out += "\"" + label_name(path) + "\":";
  if (value.starts_with('"')) {
    out += value;
  } else {
    append_json_string(out, value);
  }
  out += ',';
}

}  // namespace

bool is_extracted_field(std::string_view key, const OwnNames& own) {
  if (is_one_of(key, kPlain) || own.contains(key)) return false;
  const std::size_t dot = key.find('.');
  return dot == std::string_view::npos || !is_one_of(key.substr(0, dot), kGroups);
}

std::string with_labels(std::string_view record, const OwnNames& own) {
  const std::size_t newline = record.find('\n');
  const std::size_t begin = newline + 1 < record.size() ? newline + 1 : 0;
  std::string kept(record.substr(0, begin));
  kept += '{';
  std::string labels;
  RecordFields fields(record.substr(begin));
  for (RecordField field; fields.next(field);) {
    if (is_extracted_field(field.key, own)) {
      add_labels(std::string(field.key), field.value, labels);
    } else if (field.key == "labels" && field.value.starts_with('{') && field.value.size() > 2) {
      labels.insert(0, std::string(field.value.substr(1, field.value.size() - 2)) + ",");
    } else {
      kept.append(field.key.data() - 1, field.value.data() + field.value.size());
      kept += ',';
    }
  }
  if (labels.empty()) return std::string(record);
  labels.pop_back();
  return kept + "\"labels\":{" + labels + "}}\n";
}

}  // namespace pillion::logs
