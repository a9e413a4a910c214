// Outputs from their configuration.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "adapters/logs/encode/record_filter.h"
#include "adapters/logs/output/elasticsearch.h"
#include "adapters/logs/output/output.h"
#include "config/logs.h"
#include "runtime/clock.h"
#include "runtime/loop.h"

namespace pillion::logs {

// Also needed where lines are read: it says what stands before each record.
ElasticsearchOptions elasticsearch_options(const config::ElasticsearchOutput& source);

// `state_prefix`: where the output's files go that the configuration gives no path for. `healing`:
// Elasticsearch gets a record with a mapping conflict once more, with its fields but these as
// labels.
std::unique_ptr<Output> make_output(Loop& loop, const Clock& clock, const config::LogOutput& output,
                                    const std::string& state_prefix, Output::OnDone on_done,
                                    const std::optional<OwnNames>& healing = std::nullopt);

// "stdout", "file-2", "loki-3": names of state files, by kind and place.
std::string output_state_name(const config::LogOutput& output, std::size_t index);

// Of an output's `filter`; null when it wants every record. An error says what is wrong with it.
Result<std::shared_ptr<RecordFilter>> make_filter(const config::LogFilter& source);

// What cannot work, as a sentence.
std::optional<std::string> output_problem(const config::LogOutput& output,
                                          bool has_state_directory);

}  // namespace pillion::logs
