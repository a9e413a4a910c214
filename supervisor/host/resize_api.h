// The route of the control API that changes limits of a running child: POST
// /v1/children/{child}/resize.
#pragma once

#include "supervisor/control/api.h"
#include "supervisor/host/resources.h"

namespace pillion::supervisor::host {

class ResizeApi {
 public:
  // Adds its route to `api`. `resources` must outlive the calls.
  ResizeApi(control::Api& api, Resources& resources);
  ResizeApi(const ResizeApi&) = delete;
  ResizeApi& operator=(const ResizeApi&) = delete;

 private:
  void resize(const control::ApiRequest& request, const control::Responder& reply);

  Resources& resources_;
};

}  // namespace pillion::supervisor::host
