// The service's own metrics: what happened (counted from the history of events and from probes as
// they end), and how things stand at the moment of a scrape, in Prometheus text. Every family is
// written whether it has samples or not, so that a dashboard's names are never unknown.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/child.h"
#include "runtime/clock.h"
#include "runtime/metrics.h"
#include "supervisor/control/event_record.h"
#include "supervisor/core/actions.h"
#include "supervisor/core/events.h"
#include "supervisor/core/receipt.h"
#include "supervisor/core/status.h"
#include "supervisor/host/resource_watch.h"

namespace pillion::supervisor::host {

// One child at the moment of a scrape.
struct ChildFacts {
  core::ChildStatus status;
  config::Child config;  // with limits as they hold now
  std::optional<CurrentUse> use;
  ResourceWatch::OomCounts oom_kills;
  bool is_resized = false;
  std::uint64_t dropped_records = 0;  // of its output
};

struct ServiceFacts {
  core::ServiceStatus status;
  std::vector<ChildFacts> children;  // names are unique
  std::int64_t supervisor_restarts = 0;
};

class ServiceMetrics {
 public:
  explicit ServiceMetrics(std::string service);

  // Of the last stop, before this start.
  void set_last_stop(core::Receipt receipt) { last_stop_ = std::move(receipt); }
  // Every event of the history, in order; of an earlier supervisor too.
  void on_record(const control::EventRecord& record);
  void on_probe_started(const core::RunProbe& action, MonotonicTime now);
  void on_probe_finished(const std::string& child, const core::ProbeFinished& event,
                         MonotonicTime now);

  std::string render(const ServiceFacts& facts) const;

 private:
  // Boot times of one generation's steps; zero = has not happened.
  struct Steps {
    Duration spawned{}, executed{}, started{}, ready{}, pre_stop{}, stopping{}, killed{};
  };
  using Phases = std::map<std::string, double>;  // name → seconds
  struct ChildHistory {
    Steps steps;
    Phases start_phases;  // "exec", "gate", "ready"; of the latest generation
    Phases stop_phases;   // "pre_stop", "stop", "kill"; of the generation that ended last
    std::optional<double> time_to_ready;
    std::map<std::string, std::uint64_t> exits;  // by reason
  };
  struct ProbeHistory {
    std::array<std::uint64_t, 4> results{};  // by core::ProbeResult
    std::vector<std::uint64_t> counts;       // per bucket of latency
    double seconds = 0;
  };

  void on_child_record(const control::EventRecord& record, ChildHistory& child);
  static void on_end(const control::EventRecord& record, ChildHistory& child);
  Labels labels(const std::string& child, Labels more = {}) const;
  void write_service(MetricsWriter& writer, const ServiceFacts& facts) const;
  void write_last_stop(MetricsWriter& writer) const;
  void write_supervisor(MetricsWriter& writer, const ServiceFacts& facts) const;
  void write_states(MetricsWriter& writer, const ServiceFacts& facts) const;
  void write_lives(MetricsWriter& writer) const;
  void write_probes(MetricsWriter& writer) const;
  void write_use(MetricsWriter& writer, const ServiceFacts& facts) const;
  void write_pressure(MetricsWriter& writer, const ServiceFacts& facts) const;

  std::string service_;
  std::optional<core::Receipt> last_stop_;
  Duration preparing_{};  // boot time
  std::optional<double> time_to_ready_;
  std::map<std::string, std::uint64_t> events_;  // by level
  std::map<std::string, ChildHistory> children_;
  std::map<std::pair<std::string, core::ProbeKind>, ProbeHistory> probes_;
  std::map<std::pair<core::ChildId, core::ProbeKind>, std::pair<std::uint64_t, MonotonicTime>>
      running_probes_;  // sequence and start
};

}  // namespace pillion::supervisor::host
