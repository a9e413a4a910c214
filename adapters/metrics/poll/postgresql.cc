#include "adapters/metrics/poll/postgresql.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "adapters/metrics/make_sources.h"
#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {
namespace {

struct CloseConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, CloseConnection>;
using QueryResult = std::unique_ptr<PGresult, ClearResult>;

constexpr std::size_t kRowsMax = 100'000;  // of one query

// libpq's text without line breaks; it never holds the password.
std::string message_of(const char* text) {
  std::string message = clean_text(text == nullptr ? "" : text);
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  return message.empty() ? "unknown error" : message;
}

Result<Connection> connect(const config::PostgresqlInput& config, const Deadline& deadline) {
  std::string password;
  if (config.password_file) {
    auto secret = read_secret(*config.password_file);
    if (!secret) return fail(secret.error());
    password = std::move(*secret);
  }
  // A later dbname that is a connection string is expanded in place; keywords behind it win.
  const char* keys[] = {"dbname", "fallback_application_name",
                        config.password_file ? "password" : nullptr, nullptr};
  const char* values[] = {config.connection.c_str(), "pillion-metrics", password.c_str(), nullptr};
  Connection connection(PQconnectStartParams(keys, values, 1));
  if (!connection) return fail("out of memory in libpq");
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (PQstatus(connection.get()) != CONNECTION_BAD && status != PGRES_POLLING_OK) {
    if (status == PGRES_POLLING_FAILED) break;
    const short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    auto ready = wait_for(PQsocket(connection.get()), events, deadline);
    if (!ready) return fail(ready.error().wrap("cannot connect"));
    status = PQconnectPoll(connection.get());
  }
  if (status != PGRES_POLLING_OK) return fail(message_of(PQerrorMessage(connection.get())));
  return connection;
}

// The last result of what was sent.
Result<QueryResult> finish_query(PGconn* connection, const Deadline& deadline) {
  QueryResult last;
  for (;;) {
    while (PQisBusy(connection)) {
      if (auto ready = wait_for(PQsocket(connection), POLLIN, deadline); !ready) {
        return fail(ready.error());
      }
      if (!PQconsumeInput(connection)) return fail(message_of(PQerrorMessage(connection)));
    }
    QueryResult next(PQgetResult(connection));
    if (!next) break;
    last = std::move(next);
  }
  const ExecStatusType status = PQresultStatus(last.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    return fail(message_of(PQresultErrorMessage(last.get())));
  }
  return last;
}

Result<QueryResult> run_query(PGconn* connection, const std::string& sql,
                              const Deadline& deadline) {
  if (!PQsendQuery(connection, sql.c_str())) return fail(message_of(PQerrorMessage(connection)));
  return finish_query(connection, deadline);
}

SqlRows rows_of(const PGresult* result) {
  SqlRows rows;
  const int columns = PQnfields(result);
  for (int column = 0; column < columns; ++column)
    rows.columns.emplace_back(PQfname(result, column));
  const int count = std::min(PQntuples(result), static_cast<int>(kRowsMax));
  for (int row = 0; row < count; ++row) {
    auto& cells = rows.rows.emplace_back();
    for (int column = 0; column < columns; ++column) {
      if (PQgetisnull(result, row, column)) {
        cells.emplace_back();
      } else {
        cells.emplace_back(PQgetvalue(result, row, column));
      }
    }
  }
  return rows;
}

// Keeps the connection between questions.
class Session {
 public:
  explicit Session(config::PostgresqlInput config) : config_(std::move(config)) {}

  Result<Families> ask(const Deadline& deadline) {
    auto families = try_to_ask(deadline);
    if (!families) connection_.reset();
    return families;
  }

 private:
  Result<Families> try_to_ask(const Deadline& deadline) {
    if (!connection_) {
      auto made = connect(config_, deadline);
      if (!made) return fail(made.error());
      connection_ = std::move(*made);
      queries_ = config_.has_standard_queries ? standard_queries(PQserverVersion(connection_.get()))
                                              : std::vector<config::SqlQuery>();
      queries_.insert(queries_.end(), config_.queries.begin(), config_.queries.end());
      // Whatever the queries say, nothing is written.
      auto set = run_query(connection_.get(), "SET default_transaction_read_only = on", deadline);
      if (!set) return fail(set.error());
    }
    Families families;
    for (const auto& query : queries_) {
      auto result = run_query(connection_.get(), query.sql, deadline);
      if (!result) return fail(result.error().wrap("query " + query.name));
      if (auto added = add_rows(rows_of(result->get()), query, families); !added) {
        return fail(added.error().wrap("query " + query.name));
      }
    }
    return families;
  }

  config::PostgresqlInput config_;
  std::vector<config::SqlQuery> queries_;
  Connection connection_;
};

std::optional<double> number_of(const std::string& cell) {
  if (cell == "t") return 1;
  if (cell == "f") return 0;
  return parse_number(cell);
}

}  // namespace

Result<void> add_rows(const SqlRows& rows, const config::SqlQuery& query, Families& out) {
  const auto place_of = [&](const std::string& column) -> Result<std::size_t> {
    const auto found = std::find(rows.columns.begin(), rows.columns.end(), column);
    if (found == rows.columns.end()) return fail("the result has no column \"" + column + "\"");
    return static_cast<std::size_t>(found - rows.columns.begin());
  };
  std::vector<std::size_t> labels;
  for (const std::string& column : query.labels) {
    auto place = place_of(column);
    if (!place) return fail(place.error());
    labels.push_back(*place);
  }
  const auto add = [&](const std::string& column, Kind kind) -> Result<void> {
    const auto place = place_of(column);
    if (!place) return fail(place.error());
    const auto help = query.help.find(column);
    for (const auto& row : rows.rows) {
      const auto& cell = row[*place];
      const auto number = cell ? number_of(*cell) : std::nullopt;
      if (!number) continue;
      Labels values;
      for (std::size_t i = 0; i < labels.size(); ++i) {
        values.emplace_back(query.labels[i], row[labels[i]].value_or(""));
      }
      out.add(query.name + "_" + column, kind, *number, std::move(values),
              help == query.help.end() ? std::string_view() : std::string_view(help->second));
    }
    return {};
  };
  for (const std::string& column : query.counters) {
    if (auto added = add(column, Kind::Counter); !added) return added;
  }
  for (const std::string& column : query.gauges) {
    if (auto added = add(column, Kind::Gauge); !added) return added;
  }
  return {};
}

std::vector<config::SqlQuery> standard_queries(int server_version) {
  std::vector<config::SqlQuery> queries;
  const auto add = [&](std::string name, std::string sql, std::vector<std::string> labels,
                       std::vector<std::string> counters, std::vector<std::string> gauges) {
    queries.push_back({std::move(name),
                       std::move(sql),
                       std::move(labels),
                       std::move(counters),
                       std::move(gauges),
                       {}});
  };
  add("pg_stat_database",
      "SELECT datname, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, "
      "tup_fetched, tup_inserted, tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, "
      "deadlocks, blk_read_time / 1000 AS blk_read_seconds, blk_write_time / 1000 AS "
      "blk_write_seconds FROM pg_stat_database WHERE datname IS NOT NULL",
      {"datname"},
      {"xact_commit", "xact_rollback", "blks_read", "blks_hit", "tup_returned", "tup_fetched",
       "tup_inserted", "tup_updated", "tup_deleted", "conflicts", "temp_files", "temp_bytes",
       "deadlocks", "blk_read_seconds", "blk_write_seconds"},
      {"numbackends"});
  add("pg_database",
      "SELECT datname, pg_database_size(oid) AS size_bytes FROM pg_database WHERE datallowconn AND "
      "has_database_privilege(oid, 'CONNECT')",
      {"datname"}, {}, {"size_bytes"});
  add("pg_stat_activity",
      "SELECT coalesce(datname, '') AS datname, coalesce(state, 'other') AS state, count(*) AS "
      "backends, coalesce(max(extract(epoch FROM now() - xact_start)), 0) AS "
      "longest_transaction_seconds FROM pg_stat_activity GROUP BY 1, 2",
      {"datname", "state"}, {}, {"backends", "longest_transaction_seconds"});
  add("pg_locks",
      "SELECT coalesce(d.datname, '') AS datname, l.mode, count(*) AS held FROM pg_locks l LEFT "
      "JOIN pg_database d ON d.oid = l.database GROUP BY 1, 2",
      {"datname", "mode"}, {}, {"held"});
  add("pg_replication",
      "SELECT pg_is_in_recovery() AS is_replica, CASE WHEN pg_is_in_recovery() THEN "
      "greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) ELSE 0 END AS "
      "lag_seconds",
      {}, {}, {"is_replica", "lag_seconds"});
  add("pg_stat_replication",
      "SELECT application_name, coalesce(client_addr::text, '') AS client_addr, state, "
      "pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE "
      "pg_current_wal_lsn() END, replay_lsn) AS lag_bytes FROM pg_stat_replication",
      {"application_name", "client_addr", "state"}, {}, {"lag_bytes"});
  // From version 17 on checkpoints have a view of their own.
  if (server_version < 170000) {
    add("pg_stat_bgwriter",
        "SELECT checkpoints_timed, checkpoints_req, buffers_checkpoint, buffers_clean, "
        "maxwritten_clean, buffers_backend, buffers_alloc FROM pg_stat_bgwriter",
        {},
        {"checkpoints_timed", "checkpoints_req", "buffers_checkpoint", "buffers_clean",
         "maxwritten_clean", "buffers_backend", "buffers_alloc"},
        {});
  } else {
    add("pg_stat_bgwriter",
        "SELECT buffers_clean, maxwritten_clean, buffers_alloc FROM pg_stat_bgwriter", {},
        {"buffers_clean", "maxwritten_clean", "buffers_alloc"}, {});
    add("pg_stat_checkpointer",
        "SELECT num_timed, num_requested, buffers_written FROM pg_stat_checkpointer", {},
        {"num_timed", "num_requested", "buffers_written"}, {});
  }
  add("pg_settings",
      "SELECT setting AS max_connections FROM pg_settings WHERE name = 'max_connections'", {}, {},
      {"max_connections"});
  return queries;
}

BlockingWork postgresql_work(config::PostgresqlInput config) {
  // Shared because a std::function is copied; one thread uses it.
  auto session = std::make_shared<Session>(std::move(config));
  return [session](const Deadline& deadline) { return session->ask(deadline); };
}

}  // namespace pillion::metrics
