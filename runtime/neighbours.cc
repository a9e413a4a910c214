#include "runtime/neighbours.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace pillion {
namespace {

constexpr std::size_t kNameBytesMax = 63;
constexpr std::size_t kNeighboursMax = 4096;
constexpr std::size_t kPortsMax = 256;

constexpr std::array<std::pair<NeighbourState, std::string_view>, 4> kStates = {
    {{NeighbourState::Running, "running"},
     {NeighbourState::Stopped, "stopped"},
     {NeighbourState::Denied, "denied"},
     {NeighbourState::Distant, "distant"}}};

// Takes the first word off `rest`; "" at its end.
std::string_view take_word(std::string_view& rest) {
  const std::size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool is_whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return is_whole && port != 0 ? std::optional(port) : std::nullopt;
}

bool is_name(std::string_view text) {
  for (const char c : text) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return !text.empty() && text.size() <= kNameBytesMax;
}

std::optional<NeighbourState> parse_state(std::string_view text) {
  for (const auto& [state, word] : kStates) {
    if (word == text) return state;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> parse_virtual_address(std::string_view text) {
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  const std::uint32_t bits = ntohl(address.s_addr);
  const bool is_ours = bits >= kNeighbourAddressFirst && bits <= kNeighbourAddressLast;
  return is_ours ? std::optional(bits) : std::nullopt;
}

bool is_address(const std::string& text) {
  in6_addr bits{};
  return ::inet_pton(AF_INET, text.c_str(), &bits) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &bits) == 1;
}

// "8080/http=[::1]:18080"
std::optional<NeighbourPort> parse_target(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::size_t equals = text.find('=');
  const std::size_t colon = text.rfind(':');
  if (slash == text.npos || equals == text.npos || colon == text.npos) return std::nullopt;
  if (slash > equals || equals > colon) return std::nullopt;
  const auto port = parse_port(text.substr(0, slash));
  const auto address_port = parse_port(text.substr(colon + 1));
  std::string_view address = text.substr(equals + 1, colon - equals - 1);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  NeighbourPort target{port.value_or(0), std::string(text.substr(slash + 1, equals - slash - 1)),
                       std::string(address), address_port.value_or(0)};
  if (!port || !address_port || !is_address(target.address)) return std::nullopt;
  return target;
}

std::optional<Neighbour> parse_line(std::string_view line) {
  const std::string_view name = take_word(line);
  const auto address = parse_virtual_address(take_word(line));
  const auto state = parse_state(take_word(line));
  if (!is_name(name) || !address || !state) return std::nullopt;
  Neighbour neighbour{std::string(name), *address, *state, {}};
  while (!line.empty() && neighbour.ports.size() < kPortsMax) {
    if (auto port = parse_target(take_word(line))) neighbour.ports.push_back(std::move(*port));
  }
  return neighbour;
}

}  // namespace

std::string neighbour_address_text(std::uint32_t address) {
  const in_addr bits{htonl(address)};
  char text[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, &bits, text, sizeof text);
}

std::string render_neighbours(const std::vector<Neighbour>& neighbours) {
  std::string text;
  for (const Neighbour& neighbour : neighbours) {
    text += neighbour.name + " " + neighbour_address_text(neighbour.address);
    for (const auto& [state, word] : kStates) {
      if (state == neighbour.state) text.append(" ").append(word);
    }
    for (const NeighbourPort& port : neighbour.ports) {
      const bool is_v6 = port.address.find(':') != std::string::npos;
      text += " " + std::to_string(port.port) + "/" + port.protocol + "=";
      text += is_v6 ? "[" + port.address + "]" : port.address;
      text += ":" + std::to_string(port.address_port);
    }
    text += "\n";
  }
  return text;
}

std::vector<Neighbour> parse_neighbours(std::string_view text) {
  std::vector<Neighbour> neighbours;
  while (!text.empty() && neighbours.size() < kNeighboursMax) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto neighbour = parse_line(text.substr(0, end))) {
      neighbours.push_back(std::move(*neighbour));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return neighbours;
}

}  // namespace pillion
