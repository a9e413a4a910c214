// Sources out of the configuration.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "adapters/metrics/source.h"
#include "config/metrics.h"
#include "runtime/http_client.h"
#include "runtime/listeners.h"

namespace pillion::metrics {

// What an input needs beyond its configuration; all outlive the sources.
struct Workshop {
  Loop& loop;
  const Clock& clock;
  HttpClient& client;
  SeriesBudget& budget;
};

// What is wrong beyond the file's form, in words; reads no file and asks nobody.
std::vector<std::string> find_problems(const config::MetricsConfig& config);

// The source of `config.inputs[index]`, not yet asked. `sockets` are a statsd input's. An error is
// about an expression of the configuration.
Result<std::unique_ptr<Source>> make_source(Workshop& workshop, const config::MetricsConfig& config,
                                            std::size_t index, StatsdServer::Sockets sockets);

// Of TLS and authentication; files are read now. An error names the file.
Result<void> add_access(HttpClient::Request& request, const config::LogTls& tls,
                        const config::LogAuth& auth);
// A file's text without the line feed at its end.
Result<std::string> read_secret(const std::string& path);

}  // namespace pillion::metrics
