// Asks a PostgreSQL server by SQL, through libpq. The connection is kept between questions and made
// anew after an error.
#pragma once

#include <string>
#include <vector>

#include "adapters/metrics/poll/asker.h"
#include "config/metrics.h"

namespace pillion::metrics {

BlockingWork postgresql_work(config::PostgresqlInput config);

// A result as text: the columns' titles, and rows whose NULLs are empty optionals.
struct SqlRows {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;
};
// A column that the query names and the result lacks is an error; a value that is no number is left
// out. "t" and "f" are 1 and 0.
Result<void> add_rows(const SqlRows& rows, const config::SqlQuery& query, Families& out);

// What is asked without the user's own queries; for servers from version 10 on.
std::vector<config::SqlQuery> standard_queries(int server_version);

}  // namespace pillion::metrics
