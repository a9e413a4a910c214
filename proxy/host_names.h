// Which upstream a host name leads to: an exact name first, then the longest of the patterns
// "*.example.com" that the name ends with, and "*" where the caller asks for it. A pattern takes
// names with one label or more in front (as Envoy, nginx and haproxy read it), never its own rest.
// It chooses where traffic goes; whom a certificate names is verified elsewhere, by one label.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pillion::proxy {

// Whether a host is the pattern "name", or below "*.name", or any for "*". The pattern is in lower
// case; the host's case and final dots do not matter.
bool matches_host(std::string_view pattern, std::string_view name);

class HostNames {
 public:
  // Case and a final dot do not matter. What leads somewhere already stays.
  void add(std::string_view name_or_pattern, std::size_t upstream);

  // `name` in lower case, without a port. Allocates nothing.
  std::optional<std::size_t> find_exact(std::string_view name) const;
  std::optional<std::size_t> find(std::string_view name) const;
  // What "*" leads to: for a name that leads nowhere else.
  std::optional<std::size_t> any() const { return any_; }
  bool is_empty() const { return exact_.empty() && suffixes_.empty(); }

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  using ByText = std::unordered_map<std::string, std::size_t, TextHash, std::equal_to<>>;

  static std::optional<std::size_t> look_up(const ByText& names, std::string_view name);
  std::optional<std::size_t> find_suffix(std::string_view name) const;

  ByText exact_;
  ByText suffixes_;  // "example.com" of "*.example.com"
  std::size_t longest_suffix_ = 0;
  std::optional<std::size_t> any_;
};

}  // namespace pillion::proxy
