// The routes of the control API that tell what children use: GET /v1/usage, now, for `pillion
// top`, and GET /v1/recommend, what of it over time follows for requests and limits.
#pragma once

#include <string>
#include <vector>

#include "config/service.h"
#include "supervisor/control/api.h"
#include "supervisor/usage/history.h"
#include "supervisor/usage/recommendation.h"

namespace pillion::supervisor::host {

class Supervisor;

// One for each child of `service`, or for `only`; in the order of the file.
std::vector<usage::Recommendation> recommend_for(const config::Service& service,
                                                 const usage::History& history,
                                                 const std::string& only = {});

class UsageApi {
 public:
  // Adds its routes to `api`. `supervisor` must outlive the calls.
  UsageApi(control::Api& api, Supervisor& supervisor);
  UsageApi(const UsageApi&) = delete;
  UsageApi& operator=(const UsageApi&) = delete;
};

}  // namespace pillion::supervisor::host
