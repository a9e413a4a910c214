// Carries plans out on the machine: what the program `pillion-netns` does. Blocking,
// single-threaded, needs CAP_NET_ADMIN and CAP_SYS_ADMIN. A call that fails undoes what it did
// itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "netns/facts.h"
#include "netns/host_state.h"
#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

// Looks at the calling thread's network namespace and the machine's name files.
Result<HostState> observe_host();

// Builds the network of a service. Remains of an earlier run of the same service are removed first;
// a namespace that still has processes in it is an error.
Result<Facts> create_network(const Wanted& wanted);

// Makes the capture rules live in the service's namespace, replacing older ones in one step, by the
// first backend and method that `wanted` allows and the machine takes. The proxy should listen
// already: TPROXY is chosen only where its listener is transparent.
Result<CaptureFacts> apply_capture(const Wanted& wanted);
// The ways that apply_capture() would try.
Result<std::vector<CaptureFacts>> find_capture_attempts(const Wanted& wanted);
// Removes them; what was captured then goes its own way. No error when there are none.
Result<void> remove_capture(const Wanted& wanted);

// Removes everything that has one of the service's names: interface, table, pin. Idempotent; says
// what it removed ("interface pil1a2b3c4dh").
Result<std::vector<std::string>> remove_network(std::string_view service);

}  // namespace pillion::netns
