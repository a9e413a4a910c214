#include "proxy/host_names.h"

#include <algorithm>

#include "runtime/http1/syntax.h"

namespace pillion::proxy {
namespace {

constexpr std::string_view kAny = "*";
constexpr std::string_view kLabel = "*.";

std::string_view without_final_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return lower;
}

}  // namespace

bool matches_host(std::string_view pattern, std::string_view name) {
  pattern = without_final_dot(pattern);
  name = without_final_dot(name);
  if (pattern == kAny) return !name.empty();
  if (!pattern.starts_with(kLabel)) return http1::equals_ignoring_case(name, pattern);
  const std::string_view suffix = pattern.substr(1);  // with its dot
  return name.size() > suffix.size() && !name.starts_with('.') &&
         http1::equals_ignoring_case(name.substr(name.size() - suffix.size()), suffix);
}

void HostNames::add(std::string_view name, std::size_t upstream) {
  if (name == kAny) {
    if (!any_) any_ = upstream;
    return;
  }
  name = without_final_dot(name);
  if (!name.starts_with(kLabel)) {
    exact_.emplace(lower_case(name), upstream);
    return;
  }
  name.remove_prefix(kLabel.size());
  suffixes_.emplace(lower_case(name), upstream);
  longest_suffix_ = std::max(longest_suffix_, name.size());
}

std::optional<std::size_t> HostNames::look_up(const ByText& names, std::string_view name) {
  const auto found = names.find(name);
  if (found == names.end()) return {};
  return found->second;
}

std::optional<std::size_t> HostNames::find_exact(std::string_view name) const {
  return look_up(exact_, name);
}

std::optional<std::size_t> HostNames::find(std::string_view name) const {
  if (const auto exact = look_up(exact_, name)) return exact;
  if (name.ends_with('.')) {
    name.remove_suffix(1);
    if (const auto exact = look_up(exact_, name)) return exact;
  }
  return find_suffix(name);
}

// From the longest rest of the name to the shortest; what is longer than every pattern is not
// looked up, so a name of many labels costs no more than the patterns are long.
std::optional<std::size_t> HostNames::find_suffix(std::string_view name) const {
  if (suffixes_.empty()) return {};
  for (std::size_t dot = name.find('.'); dot != std::string_view::npos;
       dot = name.find('.', dot + 1)) {
    const std::string_view rest = name.substr(dot + 1);
    if (dot == 0 || rest.size() > longest_suffix_) continue;
    if (const auto found = look_up(suffixes_, rest)) return found;
  }
  return {};
}

}  // namespace pillion::proxy
