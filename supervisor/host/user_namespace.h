// What a sealed service needs that is started without root: a user namespace of its own, in which
// this user may make network and mount namespaces. Entered once, before the keeper; keeper,
// supervisor and children live in it. It maps this user onto itself: files, sockets and `id` say
// what they say outside.
#pragma once

#include <string>

#include "config/service.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

// The service is sealed, and this process may not make namespaces as it is. False for root: a root
// without capabilities has no other user to be.
bool needs_user_namespace(const config::Service& service);

// Moves the calling process, of one thread, into a new user namespace with ambient capabilities,
// which what it executes keeps. The error says which setting of the machine forbids it.
Result<void> enter_user_namespace();

// What forbids unprivileged user namespaces here, and what to do about it. `errno_value` is what
// the kernel said; `proc_sys` is "/proc/sys", a test's own directory in a test.
std::string explain_no_user_namespace(int errno_value, const std::string& proc_sys);

}  // namespace pillion::supervisor::host
