// What a loaded service file wants of the network. Pure. The supervisor sends the result to
// `pillion-netns` as JSON (wanted_to_json).
#pragma once

#include "config/service.h"
#include "netns/wanted.h"

namespace pillion::netns {

// Users must be resolved (config::load_service with lookup_user). Exempt are the users of all
// helpers without `capture = true`, but never one that the app or an init task runs as.
Wanted wanted_from_service(const config::Service& service);

}  // namespace pillion::netns
