// Everything about what the children of a service may use and do use, in one place for the
// supervisor: limits as the file and `pillion resize` give them, the watch over their groups, and
// the account of an end that had to be forced.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/loop.h"
#include "supervisor/control/status_report.h"
#include "supervisor/core/events.h"
#include "supervisor/host/end_report.h"
#include "supervisor/host/resizes.h"
#include "supervisor/host/resource_watch.h"
#include "supervisor/host/service_metrics.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

class Resources {
 public:
  using OnReport = std::function<void(core::Report)>;

  Resources(Loop& loop, Cgroups& cgroups, const config::Service& service, const ServicePaths& paths,
            OnReport on_report);

  // `is_restart`: an earlier supervisor ran this service; its changed limits hold on.
  void start(bool is_restart);
  // The service is over.
  void finish();

  // As the file says, with what an operator changed.
  CgroupLimits limits_of(const config::Child& child) const;

  // The life of a generation, told by Children.
  void generation_started(const config::Child& child, core::Generation generation,
                          const std::string& leaf, pid_t pid);
  // Of an earlier supervisor; `has_exited`: while nobody watched.
  void generation_adopted(const config::Child& child, core::Generation generation,
                          const std::string& leaf, pid_t pid, bool has_exited);
  void generation_signalled(const std::string& leaf, int signal_number) {
    ends_.signalled(leaf, signal_number);
  }
  void generation_killing(const std::string& child, core::Generation generation,
                          const std::string& leaf, pid_t pid);
  // Adds to `status` what is known beyond it: lack of memory, or what it did when we killed it.
  void explain_exit(const std::string& leaf, bool is_killed_by_us, core::ExitStatus& status);
  // Before the group is removed.
  void generation_ended(const std::string& leaf);

  // Changes limits of a child at once, and of its later generations. Refusals say what to do.
  // `is_forced` lets a memory limit go below what is in use.
  Result<void> resize(const config::Child& child, const LimitChanges& changes, bool is_forced);
  // Back to what the file says, of one child.
  Result<void> reset(const config::Child& child);
  // After a reload the file counts again: forgets every change and brings the running groups in
  // line with the present configuration. `before` is the configuration that they run with.
  void follow_file(const config::Service& before);

  control::ChildUsage usage_of(const config::Child& child, core::Generation generation);
  // For a scrape.
  ChildFacts facts_of(const config::Child& child, const core::ChildStatus& status);
  // Guarantees that this machine does not give, and limits that differ from the file.
  std::vector<std::string> remarks() const;
  ResourceWatch& watch() { return watch_; }
  const config::Service& service() const { return service_; }
  config::Child effective(const config::Child& child) const { return resizes_.effective(child); }

 private:
  Result<void> change(const config::Child& child, const config::Child& before,
                      const config::Child& after);
  Result<void> check_use(const config::Child& before, const config::Child& after);

  Cgroups& cgroups_;
  const config::Service& service_;
  OnReport on_report_;
  Resizes resizes_;
  ResourceWatch watch_;
  EndReport ends_;
};

}  // namespace pillion::supervisor::host
