#include "config/service.h"

#include <algorithm>

#include "runtime/result.h"

namespace pillion::config {

Network::Network() : pool{*IpAddress::parse("10.213.0.0"), 16} {}

const Upstream* ProxyConfig::find_upstream(std::string_view name) const {
  const auto found = std::find_if(upstreams.begin(), upstreams.end(),
                                  [&](const Upstream& upstream) { return upstream.name == name; });
  return found == upstreams.end() ? nullptr : &*found;
}

const Child& Service::app() const {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [](const Child& child) { return child.role == Role::App; });
  PILLION_ASSERT(found != children.end());
  return *found;
}

const Child* Service::find(std::string_view child) const {
  for (const Child& candidate : children) {
    if (candidate.name == child) return &candidate;
  }
  return nullptr;
}

const Volume* Service::find_volume(std::string_view volume) const {
  for (const Volume& candidate : volumes) {
    if (candidate.name == volume) return &candidate;
  }
  return nullptr;
}

std::vector<const Child*> Service::with_role(Role role) const {
  std::vector<const Child*> found;
  for (const Child& child : children) {
    if (child.role == role) found.push_back(&child);
  }
  return found;
}

const Child* Service::using_component(Component component) const {
  for (const Child& child : children) {
    if (child.use == component) return &child;
  }
  return nullptr;
}

std::vector<std::vector<std::size_t>> start_dependencies(const Service& service) {
  const auto& children = service.children;
  std::vector<std::vector<std::size_t>> dependencies(children.size());
  for (std::size_t i = 0; i < children.size(); ++i) {
    for (std::size_t j = 0; j < children.size(); ++j) {
      const bool is_earlier_role = children[j].role < children[i].role;
      const bool is_earlier_init =
          children[i].role == Role::Init && children[j].role == Role::Init && j < i;
      const auto& after = children[i].after;
      const bool is_named = std::find(after.begin(), after.end(), children[j].name) != after.end();
      if (is_earlier_role || is_earlier_init || is_named) dependencies[i].push_back(j);
    }
  }
  return dependencies;
}

}  // namespace pillion::config
