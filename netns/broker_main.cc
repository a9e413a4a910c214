// pillion-broker: makes sockets in the network namespace it was started in and hands them to the
// proxy, which lives outside. Its channel is the descriptor named "broker" (LISTEN_FDNAMES). Knows
// nothing else: no configuration, no privilege, one thread, one blocking loop.
#include <cstdio>
#include <cstring>

#include "runtime/listeners.h"
#include "runtime/socket_broker.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::puts("pillion-broker " PILLION_VERSION);
    return 0;
  }
  auto inherited = pillion::InheritedListeners::from_environment();
  const auto channel = inherited.take(pillion::kBrokerListener);
  if (argc != 1 || !channel) {
    std::fputs("pillion-broker: started by the supervisor of a sealed service only\n", stderr);
    return 64;
  }
  const auto served = pillion::serve_sockets(channel->get());
  if (served) return 0;
  std::fprintf(stderr, "pillion-broker: %s\n", served.error().message().c_str());
  return 71;
}
