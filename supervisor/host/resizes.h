// Limits and requests that an operator changed while the service runs: kept beside the runtime
// state until the next reload or the end of the service, in place of what the file says.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/service.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

// Key of the service file → its text there, or "none" for no limit: {"limits.memory", "512MiB"}.
using LimitChanges = std::map<std::string, std::string>;

// Keys that can be changed while a child runs.
const std::vector<std::string>& resizable_keys();

// Sets the key in `child`; the error names key, value and what would be legal.
Result<void> apply_change(config::Child& child, const std::string& key, const std::string& value);
// "512MiB", "none"; the key must be resizable.
std::string value_of(const config::Child& child, const std::string& key);
// Relations between the values: a request above its limit and the like.
Result<void> check_resources(const config::Child& child);

class Resizes {
 public:
  // `file` keeps them for a restarted supervisor; read() takes them over.
  explicit Resizes(std::string file) : file_(std::move(file)) {}
  void read();

  // `child` as the file has it, with its changes.
  config::Child effective(const config::Child& child) const;
  // Adds to the changes of `child`, checked and written down before it returns.
  Result<void> add(const config::Child& child, const LimitChanges& changes);
  // Takes an add() back.
  void restore(const std::string& child, LimitChanges changes);
  // Back to the file. Without a name: all, as after a reload.
  void forget(const std::string& child);
  void forget_all();

  // "app: limits.memory is 512MiB since `pillion resize`, the file says 256MiB"
  std::vector<std::string> differences(const config::Service& service) const;
  const LimitChanges& of(const std::string& child) const;

 private:
  Result<void> write() const;

  std::string file_;
  std::map<std::string, LimitChanges> changes_;  // by child
};

}  // namespace pillion::supervisor::host
