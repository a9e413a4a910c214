#include "supervisor/cli/child_name.h"

#include <string_view>

namespace pillion::supervisor::cli {

void split_child(std::string& name, std::string& child) {
  const auto slash = name.rfind('/');
  if (!child.empty() || slash == std::string::npos) return;
  if (std::string_view(name).ends_with(".toml")) return;
  child = name.substr(slash + 1);
  name.erase(slash);
}

}  // namespace pillion::supervisor::cli
