// The routes of the control API that steer one child, or restart the whole: start, stop, restart,
// retry. Each is answered at once, or with ?wait=1 when what was asked for has happened.
#pragma once

#include <functional>
#include <list>
#include <string>

#include "runtime/loop.h"
#include "supervisor/control/api.h"
#include "supervisor/core/status.h"

namespace pillion::supervisor::host {

class Supervisor;

class ChildrenApi {
 public:
  // Adds its routes to `api`. `supervisor` must outlive it.
  ChildrenApi(Loop& loop, control::Api& api, Supervisor& supervisor);
  ChildrenApi(const ChildrenApi&) = delete;
  ChildrenApi& operator=(const ChildrenApi&) = delete;

  // The service has moved on: look who can be answered.
  void on_change();

 private:
  enum class Wish { Start, Stop, Restart, Retry };
  // A client that waits; bounded by the connections of the server.
  struct Waiter {
    Wish wish;
    std::string child;  // empty = the service
    core::Generation generation_before = 0;
    control::Responder reply;
    Timer timeout;
  };

  void add_route(control::Api& api, const std::string& word, Wish wish);
  void handle(Wish wish, const control::ApiRequest& request, const control::Responder& reply);
  void restart_service(const control::ApiRequest& request, const control::Responder& reply);
  void wait(Wish wish, const core::ChildStatus& child, bool is_service,
            const control::ApiRequest& request, const control::Responder& reply);
  // True when it was answered.
  static bool answer(const Waiter& waiter, const core::ServiceStatus& status);

  Loop& loop_;
  Supervisor& supervisor_;
  std::list<Waiter> waiters_;
};

}  // namespace pillion::supervisor::host
