// A whole service file as plain typed values, validated, every default filled in. See
// docs/configuration.md (generated from the schema) for the meaning of each key.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/child.h"
#include "config/network.h"
#include "config/units.h"

namespace pillion::config {

struct ServiceSettings {
  std::string name;
  std::chrono::milliseconds stop_grace{30'000};
  std::chrono::milliseconds drain_delay{0};
  std::chrono::milliseconds sidecar_reserve{5'000};  // default min(5s, stop_grace / 5)
  std::optional<SocketAddress> metrics;              // merged metrics and health of all children
  std::chrono::milliseconds usage_period{10'000};    // between samples of what children use
  std::map<std::string, std::string> signal_map;  // entrypoint: "SIGHUP" → "SIGUSR1" or "ignore"
  bool operator==(const ServiceSettings&) const = default;
};

struct Volume {
  std::string name;
  std::string path;            // where children see it
  std::optional<Bytes> tmpfs;  // size; empty = a directory
  std::optional<UserRef> owner;
  FileMode mode{0};  // 0 = 0711 for tmpfs, 02770 for a directory
  bool operator==(const Volume&) const = default;
};

struct Service {
  ServiceSettings settings;
  Network network;
  std::vector<Volume> volumes;  // file order
  std::vector<Child> children;  // file order, the app included; exactly one has Role::App

  const std::string& name() const { return settings.name; }
  const Child& app() const;
  // Null when there is none of that name.
  const Child* find(std::string_view child) const;
  const Volume* find_volume(std::string_view volume) const;
  // In file order.
  std::vector<const Child*> with_role(Role role) const;
  // The first child that uses the component, null without one.
  const Child* using_component(Component component) const;

  bool operator==(const Service&) const = default;
};

// For each child of `service` (same index), the indexes of the children that must have *started*
// (init: completed) before it: all of earlier roles, earlier init tasks, and `after`. Acyclic for a
// loaded service.
std::vector<std::vector<std::size_t>> start_dependencies(const Service& service);

}  // namespace pillion::config
