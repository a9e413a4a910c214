// pillion-proxy: arguments, configuration, then the server until it is drained.
#include <malloc.h>
#include <signal.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "config/load.h"
#include "config/system_lookup.h"
#include "proxy/server.h"
#include "runtime/log.h"

namespace {

constexpr int kMappedBytesMin = 256 * 1024;
constexpr int kExitBadConfig = 78;
constexpr int kExitCannotStart = 71;
constexpr int kExitUsage = 64;

struct Arguments {
  std::string config;
  std::string service;
  std::string child;
  bool is_check = false;
  bool is_version = false;
};

bool parse_arguments(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const bool has_value = i + 1 < argc;
    if (name == "--check") {
      arguments.is_check = true;
    } else if (name == "--version") {
      arguments.is_version = true;
    } else if (name == "--config" && has_value) {
      arguments.config = argv[++i];
    } else if (name == "--service" && has_value) {
      arguments.service = argv[++i];
    } else if (name == "--child" && has_value) {
      arguments.child = argv[++i];
    } else {
      return false;
    }
  }
  const bool is_by_service = !arguments.service.empty() && !arguments.child.empty();
  return arguments.is_version || arguments.config.empty() == is_by_service;
}

// Prints every problem; empty when one of them is an error.
std::optional<pillion::config::ProxyConfig> load(const Arguments& arguments) {
  using pillion::config::ProxyConfig;
  const auto options = pillion::config::system_load_options();
  auto result = arguments.config.empty()
                    ? pillion::config::load_child_component<ProxyConfig>(arguments.service,
                                                                         arguments.child, options)
                    : pillion::config::load_component<ProxyConfig>(arguments.config, options);
  if (!result.diagnostics.empty()) {
    std::fputs(pillion::config::format_text(result.diagnostics).c_str(), stderr);
  }
  return std::move(result.value);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse_arguments(argc, argv, arguments)) {
    std::fputs("usage: pillion-proxy (--config FILE | --service FILE --child NAME) [--check]\n",
               stderr);
    return kExitUsage;
  }
  if (arguments.is_version) {
    std::puts("pillion-proxy " PILLION_VERSION);
    return 0;
  }
  signal(SIGPIPE, SIG_IGN);
  // Large blocks stay mappings of their own, whatever was freed before: growing one copies nothing,
  // and freeing it gives it back at once (mallopt(3)).
  mallopt(M_MMAP_THRESHOLD, kMappedBytesMin);
  namespace log = pillion::log;
  log::configure(log::options_from_environment("pillion-proxy"));
  auto config = load(arguments);
  if (!config) return kExitBadConfig;
  if (arguments.is_check) return 0;
  auto server = pillion::proxy::Server::create(std::move(*config),
                                               pillion::InheritedListeners::from_environment(),
                                               [arguments] { return load(arguments); });
  if (!server) {
    log::error("{}", server.error().message());
    return kExitCannotStart;
  }
  return (*server)->run();
}
