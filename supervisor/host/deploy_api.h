// The routes of the control API about rolling replaces: POST /v1/deploy begins one, GET /v1/deploy
// tells how it goes and how the last one ended, POST /v1/deploy/cancel ends one.
#pragma once

#include "supervisor/control/api.h"

namespace pillion::supervisor::host {

class Supervisor;

// `supervisor` must outlive `api`.
void add_deploy_routes(control::Api& api, Supervisor& supervisor);

}  // namespace pillion::supervisor::host
