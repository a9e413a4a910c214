// The routes of the control API that ask or steer the service as a whole, and those who wait for
// its end.
#pragma once

#include <string>
#include <vector>

#include "supervisor/control/api.h"
#include "supervisor/core/receipt.h"

namespace pillion::supervisor::host {

class Supervisor;

class ServiceApi {
 public:
  // Adds its routes to `api`. `supervisor` must outlive the calls; `config_file` is for people.
  ServiceApi(control::Api& api, Supervisor& supervisor, std::string config_file);
  ServiceApi(const ServiceApi&) = delete;
  ServiceApi& operator=(const ServiceApi&) = delete;

  // Answers those who wait for the end, as far as their sockets take it: the process may exit next.
  void finish(const core::Receipt& receipt);

 private:
  void stop(const control::ApiRequest& request, const control::Responder& reply);

  Supervisor& supervisor_;
  std::string config_file_;
  std::vector<control::Responder> waiting_for_end_;  // bounded by the connections of the server
};

}  // namespace pillion::supervisor::host
