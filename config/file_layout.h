// The service file as it is laid out, before the tables of the roles become one list of children.
#pragma once

#include <optional>
#include <vector>

#include "config/schema.h"
#include "config/service.h"

namespace pillion::config {

struct FileLayout {
  ServiceSettings service;
  Network network;
  std::vector<Volume> volumes;
  std::vector<Child> init;
  std::vector<Child> adapters;
  std::vector<Child> ambassadors;
  std::vector<Child> sidecars;
  Child app;
};

template<>
const TableSchema& schema_of<FileLayout>();

// The key under which children of a role stand: "init", "adapter", …, "app".
std::string_view role_key(Role role);

}  // namespace pillion::config
