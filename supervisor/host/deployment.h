// A rolling replace of the app, the host's part: what the next generation is and on which ports it
// serves, the files that make it the accepted one, the proxy that is told, what a rollback leaves
// to read. The core decides when; every step is on disk before it is taken, and may be taken twice.
// Until the old app has ended what it had begun, the core hears nothing of the shift: so far it can
// be taken back, should the next app die under its first requests.
//
// What the service runs by is AcceptedFile's, as is what it ran by before until the old app is
// gone. Beside that, in the runtime directory:
//
//   deploy/NAME.toml      the same with the next app, until that is promoted or given up
//   deploy/record.json    DeployRecord
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/loop.h"
#include "supervisor/core/actions.h"
#include "supervisor/core/events.h"
#include "supervisor/core/snapshot.h"
#include "supervisor/core/status.h"
#include "supervisor/host/accepted_file.h"
#include "supervisor/host/child_slots.h"
#include "supervisor/host/children.h"
#include "supervisor/host/deploy_record.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/service_setup.h"
#include "supervisor/host/traffic_shift.h"

namespace pillion::supervisor::host {

struct DeployWish {
  std::string file;                  // the service file with the next app; empty = the accepted one
  std::vector<std::string> command;  // instead of the command there; empty = as it is
  std::map<std::string, std::string> env;       // beside what is there
  config::PortRange ports{18000, 18999};        // where a generation may serve beside its own ports
  Duration timeout = std::chrono::minutes(10);  // until the next generation is ready
  Duration min_ready{};                         // how long it must stay ready
  Duration drain_timeout = std::chrono::seconds(30);  // for what the old one has begun
};

inline constexpr Duration kDrainTimeoutMax = std::chrono::minutes(10);

enum class DeployPhase { None, Warming, Shifting, Draining, Retiring, RollingBack };
// "warming up"; empty of None.
std::string_view to_string(DeployPhase phase);

class Deployment {
 public:
  // All must outlive it; `service` is the accepted one, completed, and changes with a promotion.
  Deployment(Loop& loop, ServiceSetup& setup, Children& children, ChildSlots& slots,
             AcceptedFile& accepted, config::Service& service, const ServicePaths& paths,
             PostEvent post);

  // Before the core and the children are there: the slots of a service that starts.
  void prepare();
  // The same after a restart of the supervisor: first what is on disk, then, when the slots are
  // what the files say, those of the app and its proxy.
  void restore(const core::Snapshot& snapshot);
  void fit_slots(const core::Snapshot& snapshot);
  // For Core::restore(): the app that the deploy under way brings.
  std::optional<core::ChildPlan> candidate() const;
  // A child's configuration in that slot: the app on its ports, the proxy told of them.
  config::Child fitted(core::ChildId slot, config::Child child) const;

  // Checks the wish and keeps what it needs; the event is for the core, which may refuse it yet.
  // The error is a sentence with the remedy; its errno is EINVAL for a wish that can never be.
  Result<core::DeployRequested> prepare(const DeployWish& wish, const core::ServiceStatus& status);
  // The core did not take it.
  void discard();

  void use(const core::UsePlan& action);  // of a candidate
  void shift(const core::ShiftTraffic& action);
  void promote(const core::PromoteApp& action);
  void end(const core::EndDeploy& action, const core::ServiceStatus& status);
  // What the core asks and reports beside that: which generation it is, why it failed.
  void observe(const core::Spawn& action);
  void observe(const core::Report& report);

  const DeployRecord& record() const { return record_; }
  DeployPhase phase() const { return phase_; }
  // Why it is rolled back; empty before.
  const std::string& failure() const { return failure_; }
  // The service is over.
  void close();

 private:
  std::string directory() const { return paths_.runtime + "/deploy"; }
  std::string next_file() const { return directory() + "/" + service_.name() + ".toml"; }
  Result<config::Service> load(const std::string& file) const;
  std::optional<config::Child> next_app() const;
  Result<config::Service> make_next(const DeployWish& wish) const;
  Result<void> check_next(const config::Service& next) const;
  Result<void> check_traffic(const config::Child& app) const;
  Result<AppPortMap> choose_ports(const config::Child& app, config::PortRange range) const;
  std::optional<core::ChildId> proxy_slot() const;
  AppPortMap ports_of(core::ChildId slot) const;
  void install_next();
  void direct(const AppPortMap& ports);
  void await_drained(core::ChildId from, core::ChildId to);
  void shifted(core::ChildId to);
  void save();
  std::vector<std::string> last_lines(std::uint64_t generation) const;

  ServiceSetup& setup_;
  Children& children_;
  ChildSlots& slots_;
  AcceptedFile& accepted_;
  config::Service& service_;
  const ServicePaths& paths_;
  PostEvent post_;
  TrafficShift traffic_;
  Timer drain_deadline_;
  DeployRecord record_;
  // Of the deploy under way.
  DeployPhase phase_ = DeployPhase::None;
  std::optional<core::ChildId> candidate_slot_;
  core::Generation candidate_generation_ = 0;
  std::string failure_;
};

}  // namespace pillion::supervisor::host
