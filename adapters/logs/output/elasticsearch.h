// Elasticsearch's and OpenSearch's _bulk. Every record's own verdict counts (bulk_verdict.h).
#pragma once

#include <memory>
#include <string>

#include "adapters/logs/encode/labels.h"
#include "adapters/logs/encode/state.h"
#include "adapters/logs/output/http_dialect.h"

namespace pillion::logs {

struct ElasticsearchOptions {
  std::string url;  // without final slash
  std::string index;
  std::string operation = "create";
  bool has_own_id = false;
  bool heals_conflicts = false;  // a mapping conflict: once more with extracted fields as labels
  OwnNames own_names;
  std::string pipeline;
};

// What stands before each record: the action line; with own ids, its parts around the id.
void set_bulk_action(Envelope& envelope, const ElasticsearchOptions& options);

// For records that have an action line.
std::unique_ptr<HttpDialect> make_elasticsearch_dialect(ElasticsearchOptions options);

}  // namespace pillion::logs
