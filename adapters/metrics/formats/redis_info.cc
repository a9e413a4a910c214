// The table of Redis' fields is long because there are that many; the reader below it is short.
#include "adapters/metrics/formats/redis_info.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "adapters/metrics/model/number_text.h"
#include "runtime/take_line.h"

namespace pillion::metrics {
namespace {

struct Field {
  std::string_view key;
  std::string_view name;
  Kind kind = Kind::Gauge;
  double scale = 1;
};
constexpr Kind kC = Kind::Counter;
constexpr Kind kG = Kind::Gauge;
constexpr double kMicro = 1e-6;
constexpr Field kFields[] = {
    {"uptime_in_seconds", "uptime_in_seconds"},
    {"connected_clients", "connected_clients"},
    {"blocked_clients", "blocked_clients"},
    {"tracking_clients", "tracking_clients"},
    {"maxclients", "config_maxclients"},
    {"cluster_connections", "cluster_connections"},
    {"clients_in_timeout_table", "clients_in_timeout_table"},
    {"client_recent_max_output_buffer", "client_recent_max_output_buffer_bytes"},
    {"client_recent_max_input_buffer", "client_recent_max_input_buffer_bytes"},
    {"allocator_active", "allocator_active_bytes"},
    {"allocator_allocated", "allocator_allocated_bytes"},
    {"allocator_resident", "allocator_resident_bytes"},
    {"allocator_frag_ratio", "allocator_frag_ratio"},
    {"allocator_frag_bytes", "allocator_frag_bytes"},
    {"allocator_rss_ratio", "allocator_rss_ratio"},
    {"allocator_rss_bytes", "allocator_rss_bytes"},
    {"used_memory", "memory_used_bytes"},
    {"used_memory_rss", "memory_used_rss_bytes"},
    {"used_memory_peak", "memory_used_peak_bytes"},
    {"used_memory_lua", "memory_used_lua_bytes"},
    {"used_memory_vm_eval", "memory_used_vm_eval_bytes"},
    {"used_memory_overhead", "memory_used_overhead_bytes"},
    {"used_memory_startup", "memory_used_startup_bytes"},
    {"used_memory_dataset", "memory_used_dataset_bytes"},
    {"used_memory_scripts", "memory_used_scripts_bytes"},
    {"total_system_memory", "total_system_memory_bytes"},
    {"maxmemory", "memory_max_bytes"},
    {"mem_fragmentation_ratio", "mem_fragmentation_ratio"},
    {"mem_fragmentation_bytes", "mem_fragmentation_bytes"},
    {"mem_clients_slaves", "mem_clients_slaves"},
    {"mem_clients_normal", "mem_clients_normal"},
    {"mem_not_counted_for_evict", "mem_not_counted_for_eviction_bytes"},
    {"lazyfree_pending_objects", "lazyfree_pending_objects"},
    {"lazyfreed_objects", "lazyfreed_objects_total", kC},
    {"active_defrag_running", "active_defrag_running"},
    {"active_defrag_hits", "defrag_hits_total", kC},
    {"active_defrag_misses", "defrag_misses_total", kC},
    {"expired_stale_perc", "expired_stale_percentage"},
    {"expired_time_cap_reached_count", "expired_time_cap_reached_total", kC},
    {"migrate_cached_sockets", "migrate_cached_sockets"},
    {"loading", "loading_dump_file"},
    {"rdb_changes_since_last_save", "rdb_changes_since_last_save"},
    {"rdb_bgsave_in_progress", "rdb_bgsave_in_progress"},
    {"rdb_last_save_time", "rdb_last_save_timestamp_seconds"},
    {"rdb_last_bgsave_status", "rdb_last_bgsave_status"},
    {"rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_seconds"},
    {"rdb_current_bgsave_time_sec", "rdb_current_bgsave_duration_seconds"},
    {"rdb_saves", "rdb_saves_total", kC},
    {"rdb_last_cow_size", "rdb_last_cow_size_bytes"},
    {"aof_enabled", "aof_enabled"},
    {"aof_rewrite_in_progress", "aof_rewrite_in_progress"},
    {"aof_rewrite_scheduled", "aof_rewrite_scheduled"},
    {"aof_last_rewrite_time_sec", "aof_last_rewrite_duration_seconds"},
    {"aof_current_rewrite_time_sec", "aof_current_rewrite_duration_seconds"},
    {"aof_last_cow_size", "aof_last_cow_size_bytes"},
    {"aof_current_size", "aof_current_size_bytes"},
    {"aof_base_size", "aof_base_size_bytes"},
    {"aof_buffer_length", "aof_buffer_length"},
    {"aof_pending_bio_fsync", "aof_pending_bio_fsync"},
    {"aof_delayed_fsync", "aof_delayed_fsync"},
    {"aof_last_bgrewrite_status", "aof_last_bgrewrite_status"},
    {"aof_last_write_status", "aof_last_write_status"},
    {"module_fork_in_progress", "module_fork_in_progress"},
    {"total_connections_received", "connections_received_total", kC},
    {"total_commands_processed", "commands_processed_total", kC},
    {"rejected_connections", "rejected_connections_total", kC},
    {"total_net_input_bytes", "net_input_bytes_total", kC},
    {"total_net_output_bytes", "net_output_bytes_total", kC},
    {"total_net_repl_input_bytes", "net_repl_input_bytes_total", kC},
    {"total_net_repl_output_bytes", "net_repl_output_bytes_total", kC},
    {"total_reads_processed", "total_reads_processed_total", kC},
    {"total_writes_processed", "total_writes_processed_total", kC},
    {"total_error_replies", "total_error_replies_total", kC},
    {"unexpected_error_replies", "unexpected_error_replies_total", kC},
    {"expired_keys", "expired_keys_total", kC},
    {"evicted_keys", "evicted_keys_total", kC},
    {"evicted_clients", "evicted_clients_total", kC},
    {"keyspace_hits", "keyspace_hits_total", kC},
    {"keyspace_misses", "keyspace_misses_total", kC},
    {"instantaneous_ops_per_sec", "instantaneous_ops_per_second"},
    {"pubsub_channels", "pubsub_channels"},
    {"pubsub_patterns", "pubsub_patterns"},
    {"latest_fork_usec", "latest_fork_seconds", kG, kMicro},
    {"total_forks", "forks_total", kC},
    {"used_cpu_sys", "cpu_sys_seconds_total", kC},
    {"used_cpu_user", "cpu_user_seconds_total", kC},
    {"used_cpu_sys_children", "cpu_sys_children_seconds_total", kC},
    {"used_cpu_user_children", "cpu_user_children_seconds_total", kC},
    {"connected_slaves", "connected_slaves"},
    {"master_repl_offset", "master_repl_offset"},
    {"second_repl_offset", "second_repl_offset"},
    {"slave_repl_offset", "slave_repl_offset"},
    {"slave_priority", "slave_priority"},
    {"repl_backlog_size", "replication_backlog_bytes"},
    {"repl_backlog_active", "repl_backlog_is_active"},
    {"repl_backlog_first_byte_offset", "repl_backlog_first_byte_offset"},
    {"repl_backlog_histlen", "repl_backlog_history_bytes"},
    {"sync_full", "replica_resyncs_full"},
    {"sync_partial_ok", "replica_partial_resync_accepted"},
    {"sync_partial_err", "replica_partial_resync_denied"},
    {"master_last_io_seconds_ago", "master_last_io_seconds_ago"},
    {"master_sync_in_progress", "master_sync_in_progress"},
    {"cluster_enabled", "cluster_enabled"},
};

// "calls=21,usec=175" as pairs.
std::map<std::string_view, std::string_view> pairs_of(std::string_view text) {
  std::map<std::string_view, std::string_view> pairs;
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto at = pair.find('=');
    if (at != std::string_view::npos) pairs.emplace(pair.substr(0, at), pair.substr(at + 1));
  }
  return pairs;
}

// Numbers, and the words that stand for 1 and 0.
std::optional<double> number_of(std::string_view text) {
  if (text == "ok" || text == "up") return 1;
  if (text == "err" || text == "fail" || text == "down") return 0;
  return parse_number(text);
}

bool is_replica_key(std::string_view key) {
  constexpr std::string_view kStem = "slave";
  return key.starts_with(kStem) && key.size() > kStem.size() && key[kStem.size()] >= '0' &&
         key[kStem.size()] <= '9';
}

class Reader {
 public:
  void read(std::string_view key, std::string_view value) {
    values_[std::string(key)] = value;
    const auto* const field = std::find_if(std::begin(kFields), std::end(kFields),
                                           [&](const Field& known) { return known.key == key; });
    if (field != std::end(kFields)) {
      const auto number = number_of(value);
      if (number) add(field->name, field->kind, *number * field->scale, {});
      return;
    }
    if (key.starts_with("db")) {
      read_database(key, value);
    } else if (key.starts_with("cmdstat_")) {
      read_command(key.substr(8), value);
    } else if (key.starts_with("latency_percentiles_usec_")) {
      percentiles_[std::string(key.substr(25))] = value;
    } else if (key.starts_with("errorstat_")) {
      read_error(key.substr(10), value);
    } else if (is_replica_key(key)) {
      read_replica(value);
    }
  }

  Families finish() {
    const auto text = [&](const char* key) { return values_.contains(key) ? values_[key] : ""; };
    std::string version = text("valkey_version");
    if (version.empty()) version = text("redis_version");
    add("instance_info", Kind::Gauge, 1,
        {{"role", text("role")},
         {"redis_version", version},
         {"redis_mode", text("redis_mode")},
         {"os", text("os")},
         {"maxmemory_policy", text("maxmemory_policy")},
         {"tcp_port", text("tcp_port")},
         {"run_id", text("run_id")}});
    if (values_.contains("master_link_status")) {
      add("master_link_up", Kind::Gauge, text("master_link_status") == "up" ? 1 : 0,
          {{"master_host", text("master_host")}, {"master_port", text("master_port")}});
    }
    add_latencies();
    return std::move(families_);
  }

  bool is_empty() const { return values_.empty(); }

 private:
  void add(std::string_view name, Kind kind, double value, Labels labels) {
    families_.add("redis_" + std::string(name), kind, value, std::move(labels));
  }

  void read_database(std::string_view name, std::string_view value) {
    const auto pairs = pairs_of(value);
    const auto put = [&](const char* key, std::string_view metric, double scale) {
      const auto pair = pairs.find(key);
      if (pair == pairs.end()) return;
      const auto number = parse_number(pair->second);
      if (number) add(metric, Kind::Gauge, *number * scale, {{"db", std::string(name)}});
    };
    put("keys", "db_keys", 1);
    put("expires", "db_keys_expiring", 1);
    put("avg_ttl", "db_avg_ttl_seconds", 0.001);
  }

  void read_command(std::string_view command, std::string_view value) {
    const auto pairs = pairs_of(value);
    const auto put = [&](const char* key, std::string_view metric, double scale) {
      const auto pair = pairs.find(key);
      if (pair == pairs.end()) return;
      const auto number = parse_number(pair->second);
      if (number) add(metric, Kind::Counter, *number * scale, {{"cmd", std::string(command)}});
    };
    put("calls", "commands_total", 1);
    put("usec", "commands_duration_seconds_total", kMicro);
    put("rejected_calls", "commands_rejected_calls_total", 1);
    put("failed_calls", "commands_failed_calls_total", 1);
    commands_[std::string(command)] = value;
  }

  void read_error(std::string_view error, std::string_view value) {
    const auto pairs = pairs_of(value);
    const auto count = pairs.find("count");
    const auto number = count == pairs.end() ? std::nullopt : parse_number(count->second);
    if (number) add("errors_total", Kind::Counter, *number, {{"err", std::string(error)}});
  }

  void read_replica(std::string_view value) {
    const auto pairs = pairs_of(value);
    const auto text = [&](const char* key) {
      const auto pair = pairs.find(key);
      return std::string(pair == pairs.end() ? "" : pair->second);
    };
    const Labels labels{
        {"slave_ip", text("ip")}, {"slave_port", text("port")}, {"slave_state", text("state")}};
    if (const auto offset = parse_number(text("offset"))) {
      add("connected_slave_offset_bytes", Kind::Gauge, *offset, labels);
    }
    if (const auto lag = parse_number(text("lag"))) {
      add("connected_slave_lag_seconds", Kind::Gauge, *lag, labels);
    }
  }

  // "p50=0.001,p99=1.003" with count and sum of the same command.
  void add_latencies() {
    for (const auto& [command, text] : percentiles_) {
      const auto stats = commands_.find(command);
      if (stats == commands_.end()) continue;
      const auto pairs = pairs_of(stats->second);
      const auto number = [&](const char* key) {
        const auto pair = pairs.find(key);
        return pair == pairs.end() ? std::nullopt : parse_number(pair->second);
      };
      auto whole = std::make_unique<Distribution>();
      whole->count = number("calls").value_or(0);
      whole->sum = number("usec").value_or(0) * kMicro;
      std::map<double, double> values;
      for (const auto& [percentile, micros] : pairs_of(text)) {
        const auto rank =
            percentile.starts_with('p') ? parse_number(percentile.substr(1)) : std::nullopt;
        const auto value = parse_number(micros);
        if (rank && value) values[*rank / 100] = *value * kMicro;
      }
      for (const auto& [rank, value] : values) {
        whole->bounds.push_back(rank);
        whole->values.push_back(value);
      }
      Family& family = families_.family("redis_command_latency_seconds", Kind::Summary);
      family.series.push_back({{{"cmd", command}}, 0, std::move(whole), 0});
    }
  }

  std::map<std::string, std::string, std::less<>> values_;
  std::map<std::string, std::string> commands_;
  std::map<std::string, std::string> percentiles_;
  Families families_;
};

}  // namespace

Result<Families> parse_redis_info(std::string_view text) {
  Reader reader;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    const auto colon = line.find(':');
    if (line.starts_with('#') || colon == std::string_view::npos || colon == 0) continue;
    reader.read(line.substr(0, colon), line.substr(colon + 1));
  }
  if (reader.is_empty()) return fail("the answer is no INFO");
  return reader.finish();
}

}  // namespace pillion::metrics
