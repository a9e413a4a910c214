// Back to TOML: the effective configuration with every default shown. What is rendered loads again
// to the same struct.
#pragma once

#include <string>

#include "config/service.h"

namespace pillion::config {

std::string render_service(const Service& service);

// The component table of a child with `use`, as the document of /run/pillion/NAME/CHILD.toml. Empty
// for a child with `command`.
std::string render_component(const Child& child);

// Fills what component tables take from the service: `service`, the proxy's inbound.ports and
// inbound.published, and the owner of secret files. Call it before render_component.
void complete_components(Service& service);

}  // namespace pillion::config
