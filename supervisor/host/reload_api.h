// POST /v1/reload: takes the service over to what its file says now, or only tells what that would
// do. A file that cannot be loaded changes nothing and is answered with everything wrong with it.
#pragma once

#include <list>
#include <map>
#include <string>
#include <vector>

#include "runtime/loop.h"
#include "supervisor/control/api.h"
#include "supervisor/control/reload_report.h"
#include "supervisor/core/status.h"

namespace pillion::config {
struct Service;
}

namespace pillion::supervisor::host {

class Supervisor;
struct ReloadPlan;

class ReloadApi {
 public:
  // Adds its route to `api`. `supervisor` must outlive it; `config_file` is what is loaded when the
  // request names no file.
  ReloadApi(Loop& loop, control::Api& api, Supervisor& supervisor, std::string config_file);
  ReloadApi(const ReloadApi&) = delete;
  ReloadApi& operator=(const ReloadApi&) = delete;

  // SIGHUP: the outcome goes to the log.
  void reload_file();
  // The service has moved on: look who can be answered.
  void on_change();

 private:
  // A client that waits; bounded by the connections of the server.
  struct Waiter {
    control::ReloadReport report;
    std::map<std::string, core::Generation> generations_before;  // of those that start anew
    control::Responder reply;
    Timer timeout;
  };

  void handle(const control::ApiRequest& request, const control::Responder& reply);
  void apply(config::Service next, control::ReloadReport report, const control::ApiRequest& request,
             const control::Responder& reply);
  control::ReloadReport describe(const config::Service& next, const ReloadPlan& plan,
                                 const std::string& file) const;
  std::vector<control::ReloadedChild> list_changes(const config::Service& next,
                                                   const ReloadPlan& plan) const;
  // True when it was answered.
  bool answer(const Waiter& waiter, const core::ServiceStatus& status) const;

  Loop& loop_;
  Supervisor& supervisor_;
  std::string config_file_;
  std::list<Waiter> waiters_;
};

}  // namespace pillion::supervisor::host
