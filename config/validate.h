// Checks that need several keys. Those of one table run right after it was read (they are named in
// the schema as `finish`); check_service looks across tables once all are there.
#pragma once

#include "config/reader.h"
#include "config/service.h"

namespace pillion::config {

void check_settings(Reader& reader, const Node& node, ServiceSettings& settings);
void check_child(Reader& reader, const Node& node, Child& child);
void check_proxy(Reader& reader, const Node& node, ProxyConfig& proxy);
// Of check_proxy: the proxy's rules.
void check_rules(Reader& reader, const Node& node, const ProxyConfig& proxy);
void check_log_input(Reader& reader, const Node& node, LogInput& input);
void check_secrets(Reader& reader, const Node& node, SecretsConfig& secrets);
void check_statsd(Reader& reader, const Node& node, StatsdInput& statsd);
void check_haproxy(Reader& reader, const Node& node, HaproxyInput& haproxy);
void check_sql_query(Reader& reader, const Node& node, SqlQuery& query);
void check_metrics(Reader& reader, const Node& node, MetricsConfig& metrics);

// Fills in defaults that depend on other tables and resolves names of ports.
void complete_service(Reader& reader, const Node& root, Service& service);
// Everything that is wrong between tables.
void check_service(Reader& reader, const Node& root, const Service& service);

// The table of a child in the document; the root when it cannot be found.
const Node& child_node(const Node& root, const Child& child);
// Position of the value at `path` ("readiness_probe.http.port"), or of the nearest table above it.
Position position_of(const Node& node, std::string_view path);

}  // namespace pillion::config
