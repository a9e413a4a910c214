#include "supervisor/host/resizes.h"

#include <unistd.h>

#include <charconv>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "config/parse_units.h"
#include "runtime/fd.h"
#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::json;

// How one key is parsed, written and where it lies.
struct ResizableKey {
  std::string name;
  std::string legal;
  std::function<bool(config::Child&, const std::string& text)> set;
  std::function<void(config::Child&)> clear;
  std::function<std::string(const config::Child&)> text;  // "none" when not set
};

template<class T, class Member, class Parse, class Write>
ResizableKey make_key(std::string name, std::string legal, Member member, Parse parse,
                      Write write) {
  const auto set = [=](config::Child& child, const std::string& text) {
    const std::optional<T> value = parse(text);
    if (value) member(child) = *value;
    return value.has_value();
  };
  const auto text = [=](const config::Child& child) {
    const auto& value = member(const_cast<config::Child&>(child));
    return value ? write(*value) : std::string("none");
  };
  return {std::move(name), std::move(legal), set,
          [=](config::Child& child) { member(child).reset(); }, text};
}

ResizableKey cpu_key(const char* name, auto member) {
  const auto parse = [](const std::string& text) {
    auto value = config::parse_cpu(text);
    return value && value->value >= 10 ? value : std::nullopt;
  };
  return make_key<config::MilliCpu>(name, "CPUs such as \"0.5\", \"250m\" or \"2\", at least 10m",
                                    member, parse,
                                    [](config::MilliCpu cpu) { return to_string(cpu); });
}

ResizableKey bytes_key(const char* name, std::uint64_t min, auto member) {
  const auto parse = [min](const std::string& text) {
    auto value = config::parse_bytes(text);
    return value && value->value >= min ? value : std::nullopt;
  };
  const std::string least = min > 0 ? ", at least " + to_string(config::Bytes{min}) : "";
  return make_key<config::Bytes>(name, "a size such as \"512MiB\"" + least, member, parse,
                                 [](config::Bytes size) { return to_string(size); });
}

ResizableKey number_key(const char* name, unsigned max, auto member) {
  const auto parse = [max](const std::string& text) -> std::optional<unsigned> {
    unsigned value = 0;
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end || value < 1 || value > max) return {};
    return value;
  };
  return make_key<unsigned>(name, fmt::format("a number from 1 to {}", max), member, parse,
                            [](unsigned value) { return std::to_string(value); });
}

ResizableKey list_key(const char* name, auto member) {
  const auto parse = [](const std::string& text) -> std::optional<std::string> {
    if (text.empty() || text.find_first_not_of("0123456789,-") != std::string::npos) return {};
    return text;
  };
  return make_key<std::string>(name, "numbers and ranges such as \"0-3,8\"", member, parse,
                               [](const std::string& text) { return text; });
}

const std::vector<ResizableKey>& keys() {
  using config::Child;
  static const std::vector<ResizableKey> all = {
      cpu_key(
          "limits.cpu", [](Child & child) -> auto& { return child.limits.cpu; }),
      bytes_key(
          "limits.memory", 1 << 20, [](Child & child) -> auto& { return child.limits.memory; }),
      bytes_key(
          "limits.memory_high", 1 << 20,
          [](Child & child) -> auto& { return child.limits.memory_high; }),
      bytes_key(
          "limits.swap", 0, [](Child & child) -> auto& { return child.limits.swap; }),
      number_key(
          "limits.pids", 4'194'304, [](Child & child) -> auto& { return child.limits.pids; }),
      number_key(
          "limits.io_weight", 10'000,
          [](Child & child) -> auto& { return child.limits.io_weight; }),
      list_key(
          "limits.cpuset", [](Child & child) -> auto& { return child.limits.cpuset; }),
      list_key(
          "limits.memory_nodes", [](Child & child) -> auto& { return child.limits.memory_nodes; }),
      cpu_key(
          "requests.cpu", [](Child & child) -> auto& { return child.requests.cpu; }),
      bytes_key(
          "requests.memory", 0, [](Child & child) -> auto& { return child.requests.memory; }),
      bytes_key(
          "requests.memory_min", 0,
          [](Child & child) -> auto& { return child.requests.memory_min; }),
  };
  return all;
}

const ResizableKey* find_key(const std::string& name) {
  for (const ResizableKey& key : keys()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

}  // namespace

const std::vector<std::string>& resizable_keys() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const ResizableKey& key : keys()) list.push_back(key.name);
    return list;
  }();
  return names;
}

Result<void> apply_change(config::Child& child, const std::string& key, const std::string& value) {
  const ResizableKey* found = find_key(key);
  if (found == nullptr) {
    return fail(Error(fmt::format("`{}` cannot be changed while a child runs; what can: {}", key,
                                  fmt::join(resizable_keys(), ", ")),
                      EINVAL));
  }
  if (value == "none") {
    found->clear(child);
    return {};
  }
  if (!found->set(child, value)) {
    return fail(Error(
        fmt::format("`{}` cannot be \"{}\": it must be {}, or \"none\"", key, value, found->legal),
        EINVAL));
  }
  return {};
}

std::string value_of(const config::Child& child, const std::string& key) {
  const ResizableKey* found = find_key(key);
  PILLION_ASSERT(found != nullptr);
  return found->text(child);
}

Result<void> check_resources(const config::Child& child) {
  const auto& limits = child.limits;
  const auto& requests = child.requests;
  const auto above = [](const auto& lower, const auto& upper) {
    return lower && upper && *lower > *upper;
  };
  const auto refuse = [](const char* lower, const std::string& value, const char* upper,
                         const std::string& bound) {
    return fail(Error(
        fmt::format("{} = {} would be above {} = {}; change both", lower, value, upper, bound),
        EINVAL));
  };
  if (above(limits.memory_high, limits.memory)) {
    return refuse("limits.memory_high", to_string(*limits.memory_high), "limits.memory",
                  to_string(*limits.memory));
  }
  if (above(requests.memory, limits.memory)) {
    return refuse("requests.memory", to_string(*requests.memory), "limits.memory",
                  to_string(*limits.memory));
  }
  if (above(requests.memory_min, limits.memory)) {
    return refuse("requests.memory_min", to_string(*requests.memory_min), "limits.memory",
                  to_string(*limits.memory));
  }
  if (above(requests.cpu, limits.cpu)) {
    return refuse("requests.cpu", to_string(*requests.cpu), "limits.cpu", to_string(*limits.cpu));
  }
  return {};
}

void Resizes::read() {
  changes_.clear();
  const auto text = read_file(file_);
  if (!text) return;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return log::warn("{} is unreadable: resized limits are lost", file_);
  for (const auto& [child, changes] : json.items()) {
    if (!changes.is_object()) continue;
    for (const auto& [key, value] : changes.items()) {
      if (value.is_string() && find_key(key) != nullptr) {
        changes_[child][key] = value.get<std::string>();
      }
    }
  }
}

config::Child Resizes::effective(const config::Child& child) const {
  config::Child result = child;
  for (const auto& [key, value] : of(child.name)) {
    static_cast<void>(apply_change(result, key, value));  // was checked when it was added
  }
  return result;
}

Result<void> Resizes::add(const config::Child& child, const LimitChanges& changes) {
  const auto before = changes_;
  for (const auto& [key, value] : changes) changes_[child.name][key] = value;
  // What is as the file says is no change.
  std::erase_if(changes_[child.name], [&](const auto& change) {
    config::Child changed = child;
    const auto applied = apply_change(changed, change.first, change.second);
    return applied && changed == child;
  });
  if (changes_[child.name].empty()) changes_.erase(child.name);
  auto written = write();
  if (!written) changes_ = before;
  return written;
}

void Resizes::forget(const std::string& child) {
  if (changes_.erase(child) == 0) return;
  if (auto written = write(); !written) log::warn("{}", written.error().message());
}

void Resizes::restore(const std::string& child, LimitChanges changes) {
  if (changes.empty()) return forget(child);
  changes_[child] = std::move(changes);
  if (auto written = write(); !written) log::warn("{}", written.error().message());
}

void Resizes::forget_all() {
  changes_.clear();
  ::unlink(file_.c_str());
}

std::vector<std::string> Resizes::differences(const config::Service& service) const {
  std::vector<std::string> lines;
  for (const auto& [name, changes] : changes_) {
    const config::Child* child = service.find(name);
    if (child == nullptr) continue;
    for (const auto& [key, value] : changes) {
      const ResizableKey* found = find_key(key);
      if (found == nullptr) continue;
      lines.push_back(fmt::format("{}: {} is {} since `pillion resize`, the file says {}", name,
                                  key, found->text(effective(*child)), found->text(*child)));
    }
  }
  return lines;
}

const LimitChanges& Resizes::of(const std::string& child) const {
  static const LimitChanges none;
  const auto found = changes_.find(child);
  return found == changes_.end() ? none : found->second;
}

Result<void> Resizes::write() const {
  Json json = Json::object();
  for (const auto& [child, changes] : changes_) json[child] = changes;
  return write_file_atomically(file_, json.dump(), 0600);
}

}  // namespace pillion::supervisor::host
