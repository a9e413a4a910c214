// Which services of this host can be called by name: one small file per running service, in the
// directory `.services` beside their runtime directories. Each supervisor writes its own file, all
// read all. A file whose keeper has ended counts for nothing, and its address may be taken.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion::supervisor::host {

// A published TCP port.
struct RegisteredPort {
  std::uint16_t port = 0;       // the app's
  std::uint16_t host_port = 0;  // where the host listens for it
  std::string protocol;         // of config::AppProtocol
  std::string host_address;     // "*" = every one
  bool operator==(const RegisteredPort&) const = default;
};

struct RegisteredService {
  std::string name;
  std::uint32_t address = 0;  // virtual, see runtime/neighbours.h
  int keeper_pid = 0;
  std::uint64_t keeper_start_time = 0;
  std::vector<RegisteredPort> ports;
  bool operator==(const RegisteredService&) const = default;
};

class ServiceRegistry {
 public:
  explicit ServiceRegistry(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }
  // Makes the directory, which stays.
  Result<void> open() const;
  // Writes the service's file, or replaces it; chooses the address, the same one for a name as long
  // as nobody else has it.
  Result<void> announce(RegisteredService service) const;
  void withdraw(const std::string& name) const;
  // Those that run, by name.
  std::vector<RegisteredService> list() const;

 private:
  std::string directory_;
};

// Empty for what is not such a file.
std::optional<RegisteredService> parse_registered(const std::string& name, const std::string& text);
std::string render_registered(const RegisteredService& service);

// By a hash of the name, then the next one that is free.
std::uint32_t choose_neighbour_address(std::string_view name,
                                       const std::vector<RegisteredService>& others);

}  // namespace pillion::supervisor::host
