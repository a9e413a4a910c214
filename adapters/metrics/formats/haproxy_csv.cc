// The table of HAProxy's columns is long because there are that many; the reader below it is short.
#include "adapters/metrics/formats/haproxy_csv.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "adapters/metrics/model/number_text.h"
#include "runtime/take_line.h"

namespace pillion::metrics {
namespace {

struct Column {
  std::string_view title;
  std::string_view name;
  Kind kind;
  double scale = 1;
  std::string_view code = {};  // label `code`
};
constexpr Kind kC = Kind::Counter;
constexpr Kind kG = Kind::Gauge;
constexpr double kMs = 0.001;
constexpr Column kColumns[] = {
    {"qcur", "current_queue", kG},
    {"qmax", "max_queue", kG},
    {"scur", "current_sessions", kG},
    {"smax", "max_sessions", kG},
    {"slim", "limit_sessions", kG},
    {"stot", "sessions_total", kC},
    {"bin", "bytes_in_total", kC},
    {"bout", "bytes_out_total", kC},
    {"dreq", "requests_denied_total", kC},
    {"dresp", "responses_denied_total", kC},
    {"ereq", "request_errors_total", kC},
    {"econ", "connection_errors_total", kC},
    {"eresp", "response_errors_total", kC},
    {"wretr", "retry_warnings_total", kC},
    {"wredis", "redispatch_warnings_total", kC},
    {"weight", "weight", kG},
    {"uweight", "uweight", kG},
    {"act", "active_servers", kG},
    {"bck", "backup_servers", kG},
    {"chkfail", "check_failures_total", kC},
    {"chkdown", "check_up_down_total", kC},
    {"lastchg", "check_last_change_seconds", kG},
    {"downtime", "downtime_seconds_total", kC},
    {"qlimit", "queue_limit", kG},
    {"throttle", "current_throttle", kG},
    {"lbtot", "loadbalanced_total", kC},
    {"rate", "current_session_rate", kG},
    {"rate_lim", "limit_session_rate", kG},
    {"rate_max", "max_session_rate", kG},
    {"check_code", "check_code", kG},
    {"check_duration", "check_duration_seconds", kG, kMs},
    {"hrsp_1xx", "http_responses_total", kC, 1, "1xx"},
    {"hrsp_2xx", "http_responses_total", kC, 1, "2xx"},
    {"hrsp_3xx", "http_responses_total", kC, 1, "3xx"},
    {"hrsp_4xx", "http_responses_total", kC, 1, "4xx"},
    {"hrsp_5xx", "http_responses_total", kC, 1, "5xx"},
    {"hrsp_other", "http_responses_total", kC, 1, "other"},
    {"req_rate", "http_requests_rate_current", kG},
    {"req_rate_max", "http_requests_rate_max", kG},
    {"req_tot", "http_requests_total", kC},
    {"cli_abrt", "client_aborts_total", kC},
    {"srv_abrt", "server_aborts_total", kC},
    {"comp_in", "http_comp_bytes_in_total", kC},
    {"comp_out", "http_comp_bytes_out_total", kC},
    {"comp_byp", "http_comp_bytes_bypassed_total", kC},
    {"comp_rsp", "http_comp_responses_total", kC},
    {"lastsess", "last_session_seconds", kG},
    {"qtime", "queue_time_average_seconds", kG, kMs},
    {"ctime", "connect_time_average_seconds", kG, kMs},
    {"rtime", "response_time_average_seconds", kG, kMs},
    {"ttime", "total_time_average_seconds", kG, kMs},
    {"qtime_max", "max_queue_time_seconds", kG, kMs},
    {"ctime_max", "max_connect_time_seconds", kG, kMs},
    {"rtime_max", "max_response_time_seconds", kG, kMs},
    {"ttime_max", "max_total_time_seconds", kG, kMs},
    {"conn_rate", "connections_rate_current", kG},
    {"conn_rate_max", "connections_rate_max", kG},
    {"conn_tot", "connections_total", kC},
    {"intercepted", "intercepted_requests_total", kC},
    {"dcon", "denied_connections_total", kC},
    {"dses", "denied_sessions_total", kC},
    {"wrew", "failed_header_rewriting_total", kC},
    {"connect", "connection_attempts_total", kC},
    {"reuse", "connection_reuses_total", kC},
    {"cache_lookups", "http_cache_lookups_total", kC},
    {"cache_hits", "http_cache_hits_total", kC},
    {"eint", "internal_errors_total", kC},
    {"used_conn_cur", "used_connections_current", kG},
    {"idle_conn_cur", "idle_connections_current", kG},
    {"safe_conn_cur", "safe_idle_connections_current", kG},
    {"need_conn_est", "need_connections_current", kG},
};

constexpr std::array<std::string_view, 4> kTypes = {"frontend", "backend", "server", "listener"};

// One line's fields; a field in quotes may hold commas and doubled quotes (RFC 4180).
std::vector<std::string> split_row(std::string_view row) {
  std::vector<std::string> fields(1);
  bool is_quoted = false;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const char c = row[i];
    if (c == '"') {
      if (is_quoted && i + 1 < row.size() && row[i + 1] == '"') {
        fields.back() += row[++i];
      } else {
        is_quoted = !is_quoted;
      }
    } else if (c == ',' && !is_quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

// "UP 1/3" and "UP" are UP, "OPEN" too.
std::string_view state_of(std::string_view status) {
  if (status.starts_with("MAINT")) return "MAINT";
  if (status.starts_with("UP") || status.starts_with("OPEN")) return "UP";
  if (status.starts_with("NOLB")) return "NOLB";
  if (status.starts_with("DRAIN")) return "DRAIN";
  if (status.starts_with("no check")) return "no check";
  return "DOWN";
}

class Reader {
 public:
  // False when a title that everything hangs on is missing.
  bool read_titles(std::string_view line) {
    line.remove_prefix(std::min(line.find_first_not_of("# "), line.size()));
    const auto titles = split_row(line);
    for (std::size_t i = 0; i < titles.size(); ++i) places_.emplace(titles[i], i);
    return places_.contains("pxname") && places_.contains("svname") && places_.contains("type");
  }

  void read_row(std::string_view line) {
    fields_ = split_row(line);
    const auto type = parse_number(field("type"));
    if (!type || *type < 0 || *type >= static_cast<double>(kTypes.size())) return;
    const std::string_view what = kTypes[static_cast<std::size_t>(*type)];
    Labels labels{{"proxy", field("pxname")}};
    if (what == "server" || what == "listener") labels.emplace_back(what, field("svname"));
    for (const Column& column : kColumns) {
      const auto value = parse_number(field(column.title));
      if (!value) continue;
      Labels all = labels;
      if (!column.code.empty()) all.emplace_back("code", column.code);
      families_.add(fmt::format("haproxy_{}_{}", what, column.name), column.kind,
                    *value * column.scale, std::move(all));
    }
    const std::string status = field("status");
    if (status.empty()) return;
    const std::string name = fmt::format("haproxy_{}_status", what);
    for (const std::string_view state : {"UP", "DOWN", "MAINT", "DRAIN", "NOLB", "no check"}) {
      if (what != "server" && state != "UP" && state != "DOWN") continue;
      Labels all = labels;
      all.emplace_back("state", state);
      families_.add(name, Kind::Gauge, state_of(status) == state ? 1 : 0, std::move(all),
                    "1 for the state that holds.");
    }
  }

  Families take() { return std::move(families_); }

 private:
  std::string field(std::string_view title) const {
    const auto place = places_.find(title);
    const bool is_there = place != places_.end() && place->second < fields_.size();
    return is_there ? fields_[place->second] : "";
  }

  std::map<std::string, std::size_t, std::less<>> places_;
  std::vector<std::string> fields_;
  Families families_;
};

}  // namespace

Result<Families> parse_haproxy_csv(std::string_view text) {
  Reader reader;
  bool has_titles = false;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (line.empty()) continue;
    if (has_titles) {
      reader.read_row(line);
    } else if (!line.starts_with('#') || !reader.read_titles(line)) {
      return fail("these are no statistics of HAProxy as CSV (no line \"# pxname,svname,…\")");
    } else {
      has_titles = true;
    }
  }
  if (!has_titles) return fail("the answer is empty");
  return reader.take();
}

}  // namespace pillion::metrics
