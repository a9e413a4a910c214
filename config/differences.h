// Which keys of a service file differ between two loaded configurations, for people: `pillion plan`
// and the reload. Compares what is in effect, so that a default written out is no difference.
#pragma once

#include <string>
#include <vector>

#include "config/service.h"

namespace pillion::config {

struct Difference {
  std::string child;   // empty = [service], [network] or [volume.*]
  std::string key;     // below the child's table, or the whole path: "limits.memory"
  std::string before;  // as in TOML, at most 100 characters; empty = was not there
  std::string after;   // the same; empty = is not there any more
  bool operator==(const Difference&) const = default;
};

// Children are matched by name; one that is only on one side is no difference. Values of `env` and
// of headers are not shown ("…"), for they may be secrets.
std::vector<Difference> find_differences(const Service& before, const Service& after);

}  // namespace pillion::config
