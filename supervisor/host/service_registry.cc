#include "supervisor/host/service_registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "config/parse_units.h"
#include "runtime/fd.h"
#include "runtime/file_replacement.h"
#include "runtime/neighbours.h"
#include "supervisor/host/spawn.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {
namespace {

bool is_alive(const RegisteredService& service) {
  return service.keeper_pid > 0 && is_running(service.keeper_pid) &&
         read_start_time(service.keeper_pid) == service.keeper_start_time;
}

// A file holds few lines: who writes into this directory is trusted, but not to be short.
constexpr std::size_t kPortsMax = 256;

}  // namespace

std::string render_registered(const RegisteredService& service) {
  std::string text = fmt::format("address {}\nkeeper {} {}\n", service.address, service.keeper_pid,
                                 service.keeper_start_time);
  for (const RegisteredPort& port : service.ports) {
    text += fmt::format("port {} {} {} {}\n", port.port, port.host_port, port.protocol,
                        port.host_address);
  }
  return text;
}

std::optional<RegisteredService> parse_registered(const std::string& name,
                                                  const std::string& text) {
  RegisteredService service;
  service.name = name;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line) && service.ports.size() < kPortsMax;) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "address") words >> service.address;
    if (key == "keeper") words >> service.keeper_pid >> service.keeper_start_time;
    if (key == "port") {
      RegisteredPort port;
      words >> port.port >> port.host_port >> port.protocol >> port.host_address;
      if (words && port.port != 0 && port.host_port != 0) service.ports.push_back(std::move(port));
    }
  }
  const bool is_valid = config::is_child_name(name) && service.keeper_pid > 0 &&
                        service.address >= kNeighbourAddressFirst &&
                        service.address <= kNeighbourAddressLast;
  return is_valid ? std::optional(std::move(service)) : std::nullopt;
}

std::uint32_t choose_neighbour_address(std::string_view name,
                                       const std::vector<RegisteredService>& others) {
  constexpr std::uint32_t kCount = kNeighbourAddressLast - kNeighbourAddressFirst + 1;
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  for (std::uint32_t step = 0;; ++step) {
    const std::uint32_t address = kNeighbourAddressFirst + (hash % kCount + step) % kCount;
    const bool is_taken = std::any_of(others.begin(), others.end(), [&](const auto& other) {
      return other.address == address && other.name != name;
    });
    if (!is_taken || step == kCount) return address;
  }
}

Result<void> ServiceRegistry::open() const { return make_directories(directory_, 0755); }

Result<void> ServiceRegistry::announce(RegisteredService service) const {
  if (auto made = open(); !made) return made;
  // Two that start at once must not choose the same address.
  auto lock = open_file(directory_ + "/.lock", O_RDWR | O_CREAT, 0644);
  if (!lock) return fail(lock.error());
  while (::flock(lock->get(), LOCK_EX) < 0) {
    if (errno != EINTR) return fail_errno("cannot lock " + directory_);
  }
  service.address = choose_neighbour_address(service.name, list());
  const std::string path = directory_ + "/" + service.name;
  const std::string text = render_registered(service);
  if (const auto old = read_file(path); old && *old == text) return {};
  return replace_file(path, text, 0644, Survives::ProcessCrash);
}

void ServiceRegistry::withdraw(const std::string& name) const {
  ::unlink((directory_ + "/" + name).c_str());
}

std::vector<RegisteredService> ServiceRegistry::list() const {
  std::vector<RegisteredService> services;
  DIR* directory = ::opendir(directory_.c_str());
  if (directory == nullptr) return services;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (!config::is_child_name(name)) continue;
    const auto text = read_file(directory_ + "/" + name);
    auto service = text ? parse_registered(name, *text) : std::nullopt;
    if (service && is_alive(*service)) services.push_back(std::move(*service));
  }
  ::closedir(directory);
  std::sort(services.begin(), services.end(),
            [](const auto& left, const auto& right) { return left.name < right.name; });
  return services;
}

}  // namespace pillion::supervisor::host
