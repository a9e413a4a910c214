#include "config/codec.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "config/parse_units.h"

namespace pillion::config {
namespace {

std::string key_of(std::string_view key) { return "`" + std::string(key) + "`"; }

std::string number_text(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string shown(const Node& node) {
  switch (node.kind) {
    case Node::Kind::String: return "\"" + node.text + "\"";
    case Node::Kind::Integer: return std::to_string(node.integer);
    case Node::Kind::Number: return number_text(node.number);
    case Node::Kind::Boolean: return node.boolean ? "true" : "false";
    default: return std::string(describe(node.kind));
  }
}

// The ids of components' own users, so that a checkout runs without them in passwd.
constexpr std::pair<std::string_view, std::uint32_t> kOwnUsers[] = {
    {"pillion-proxy", 1337},  {"pillion-logs", 1338},    {"pillion-secrets", 1339},
    {"pillion-egress", 1340}, {"pillion-metrics", 1341},
};

std::optional<UserIds> own_user(std::string_view name) {
  for (const auto& [own, id] : kOwnUsers) {
    if (own == name) return UserIds{id, id};
  }
  return std::nullopt;
}

}  // namespace

void report_kind(Reader& reader, const Node& node, std::string_view key, std::string_view legal) {
  if (node.is_bad) return;
  std::string found(describe(node.kind));
  if (node.kind == Node::Kind::String) found = shown(node);
  const bool is_number = node.kind == Node::Kind::Integer || node.kind == Node::Kind::Number;
  if (is_number || node.kind == Node::Kind::Boolean) {
    found = "the " + found.substr(found.find(' ') + 1) + " " + shown(node);
  }
  reader.error(node.position, key_of(key) + " cannot be " + found,
               {"it must be " + std::string(legal)});
}

void report_text(Reader& reader, const Node& node, std::string_view key, std::string_view legal) {
  reader.error(node.position, key_of(key) + " cannot be " + shown(node),
               {"it must be " + std::string(legal)});
}

void report_choice(Reader& reader, const Node& node, std::string_view key,
                   const std::vector<std::string_view>& choices) {
  std::vector<std::string> notes{"it must be one of " + list_names(choices, "and")};
  const std::string_view near =
      node.kind == Node::Kind::String ? nearest(node.text, choices) : std::string_view{};
  if (!near.empty()) notes.push_back("did you mean `" + std::string(near) + "`?");
  reader.error(node.position, key_of(key) + " cannot be " + shown(node), std::move(notes));
}

std::string range_text(std::string_view noun, const Rules& rules, double low, double high) {
  const double from = std::max(rules.min, low);
  const double to = std::min(rules.max, high);
  std::string text(noun);
  if (to >= std::numeric_limits<int>::max()) return text + ", at least " + number_text(from);
  return text + " from " + number_text(from) + " to " + number_text(to);
}

std::optional<std::int64_t> read_integer(Reader& reader, const Node& node, std::string_view key,
                                         const Rules& rules, std::int64_t low, std::int64_t high) {
  if (node.is_bad) return std::nullopt;
  const std::string legal =
      range_text("a whole number", rules, static_cast<double>(low), static_cast<double>(high));
  std::int64_t value = node.integer;
  if (node.kind == Node::Kind::String && node.is_expanded) {
    const char* end = node.text.data() + node.text.size();
    const auto parsed = std::from_chars(node.text.data(), end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      report_text(reader, node, key, legal);
      return std::nullopt;
    }
  } else if (node.kind != Node::Kind::Integer) {
    report_kind(reader, node, key, legal);
    return std::nullopt;
  }
  const auto as_double = static_cast<double>(value);
  if (value < low || value > high || as_double < rules.min || as_double > rules.max) {
    reader.error(node.position, key_of(key) + " cannot be " + std::to_string(value),
                 {"it must be " + legal});
    return std::nullopt;
  }
  return value;
}

std::optional<std::string> read_string(Reader& reader, const Node& node, std::string_view key,
                                       const Rules& rules) {
  if (node.is_bad) return std::nullopt;
  const std::string_view legal =
      rules.form == Form::Any ? std::string_view("a string") : legal_form(rules.form);
  if (node.kind != Node::Kind::String) {
    report_kind(reader, node, key, legal);
    return std::nullopt;
  }
  if (node.text.find('\0') != std::string::npos) {
    reader.error(node.position, key_of(key) + " holds a NUL byte");
    return std::nullopt;
  }
  if (rules.non_empty && node.text.empty()) {
    reader.error(node.position, key_of(key) + " is empty");
    return std::nullopt;
  }
  if (!check_form(rules.form, reader, node.position, key, node.text)) return std::nullopt;
  return node.text;
}

bool expect_array(Reader& reader, const Node& node, std::string_view key, std::string_view legal) {
  if (node.kind == Node::Kind::Array) return true;
  const bool is_one_element = legal == "a list" && node.kind == Node::Kind::String;
  report_kind(reader, node, key,
              is_one_element ? "a list, such as [" + shown(node) + "]" : std::string(legal));
  return false;
}

Type Codec<std::string>::type(const Rules& rules) {
  Type type;
  type.name = "string";
  type.legal = legal_form(rules.form);
  switch (rules.form) {
    case Form::AbsolutePath:
    case Form::Glob:
      type.name = "path";
      type.pattern = "^(/|\\$\\{)";
      break;
    case Form::HttpUrl:
      type.name = "URL";
      type.pattern = "^(https?://|\\$\\{)";
      break;
    case Form::HostName: type.name = "host name"; break;
    case Form::HostPattern: type.name = "host name or pattern"; break;
    case Form::Regex: type.name = "regular expression"; break;
    default: break;
  }
  return type;
}

bool Codec<std::string>::read(Reader& reader, const Node& node, std::string_view key,
                              const Rules& rules, std::string& out) {
  auto text = read_string(reader, node, key, rules);
  if (text) out = std::move(*text);
  return text.has_value();
}

Type Codec<bool>::type(const Rules&) {
  Type type;
  type.kind = Type::Kind::Boolean;
  type.name = "boolean";
  type.legal = "true or false";
  return type;
}

bool Codec<bool>::read(Reader& reader, const Node& node, std::string_view key, const Rules&,
                       bool& out) {
  if (node.is_bad) return false;
  const bool is_text = node.kind == Node::Kind::String && node.is_expanded;
  if (is_text && (node.text == "true" || node.text == "false")) {
    out = node.text == "true";
    return true;
  }
  if (node.kind != Node::Kind::Boolean) {
    is_text ? report_text(reader, node, key, "true or false")
            : report_kind(reader, node, key, "true or false");
    return false;
  }
  out = node.boolean;
  return true;
}

Type Codec<double>::type(const Rules& rules) {
  Type type;
  type.kind = Type::Kind::Number;
  type.name = "number";
  type.legal = range_text("a number", rules, 0, std::numeric_limits<double>::infinity());
  type.min = rules.min;
  type.max = rules.max;
  return type;
}

bool Codec<double>::read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                         double& out) {
  double value = node.number;
  if (node.kind == Node::Kind::Integer) value = static_cast<double>(node.integer);
  bool is_number = node.kind == Node::Kind::Integer || node.kind == Node::Kind::Number;
  if (node.kind == Node::Kind::String && node.is_expanded) {
    const char* end = node.text.data() + node.text.size();
    const auto parsed = std::from_chars(node.text.data(), end, value);
    is_number = parsed.ec == std::errc() && parsed.ptr == end;
  }
  if (!is_number) {
    report_kind(reader, node, key, type(rules).legal);
    return false;
  }
  if (!std::isfinite(value) || value < rules.min || value > rules.max) {
    reader.error(node.position, key_of(key) + " cannot be " + number_text(value),
                 {"it must be " + type(rules).legal});
    return false;
  }
  out = value;
  return true;
}

Type Codec<PortRef>::type(const Rules&) {
  Type type;
  type.kind = Type::Kind::IntegerOrString;
  type.name = "port or name";
  type.legal = "a port from 1 to 65535 or the name of one of the child's `ports`";
  return type;
}

bool Codec<PortRef>::read(Reader& reader, const Node& node, std::string_view key,
                          const Rules& rules, PortRef& out) {
  if (node.kind == Node::Kind::String && !parse_port(node.text)) {
    if (!is_child_name(node.text)) {
      report_text(reader, node, key, type(rules).legal);
      return false;
    }
    out.name = node.text;
    return true;
  }
  return Codec<Port>::read(reader, node, key, rules, out.number);
}

Type Codec<PortRange>::type(const Rules&) {
  Type type;
  type.kind = Type::Kind::IntegerOrString;
  type.name = "port or range";
  type.legal = "a port from 1 to 65535 or a range such as \"8000-8010\"";
  return type;
}

bool Codec<PortRange>::read(Reader& reader, const Node& node, std::string_view key,
                            const Rules& rules, PortRange& out) {
  if (node.kind == Node::Kind::Integer) {
    if (!Codec<Port>::read(reader, node, key, rules, out.first)) return false;
    out.last = out.first;
    return true;
  }
  const auto parsed = node.kind == Node::Kind::String ? parse_port_range(node.text) : std::nullopt;
  if (!parsed) {
    node.kind == Node::Kind::String ? report_text(reader, node, key, type(rules).legal)
                                    : report_kind(reader, node, key, type(rules).legal);
    return false;
  }
  out = *parsed;
  return true;
}

Node Codec<PortRange>::write(const PortRange& value) {
  if (value.first == value.last) return Node::of(std::int64_t{value.first});
  return Node::string(std::to_string(value.first) + "-" + std::to_string(value.last));
}

Type Codec<UserRef>::type(const Rules&) {
  Type type;
  type.name = "user";
  type.legal = "a user's name, a uid or \"uid:gid\"";
  return type;
}

bool Codec<UserRef>::read(Reader& reader, const Node& node, std::string_view key,
                          const Rules& rules, UserRef& out) {
  if (node.kind != Node::Kind::String) {
    report_kind(reader, node, key, type(rules).legal);
    return false;
  }
  auto user = parse_user(node.text);
  if (!user) {
    report_text(reader, node, key, type(rules).legal);
    return false;
  }
  if (!user->name.empty()) {
    const bool can_look_up = static_cast<bool>(reader.options().lookup_user);
    auto ids = can_look_up ? reader.options().lookup_user(user->name) : std::nullopt;
    if (!ids) ids = own_user(user->name);
    if (!ids && can_look_up) {
      reader.error(node.position, "there is no user `" + user->name + "`",
                   {"create it (useradd --system " + user->name + ") or give a uid"});
      return false;
    }
    if (ids) user->uid = ids->uid;
    if (ids) user->gid = ids->gid;
  }
  out = std::move(*user);
  return true;
}

Type Codec<GroupRef>::type(const Rules&) {
  Type type;
  type.name = "group";
  type.legal = "a group's name or a gid";
  return type;
}

bool Codec<GroupRef>::read(Reader& reader, const Node& node, std::string_view key,
                           const Rules& rules, GroupRef& out) {
  if (node.kind != Node::Kind::String) {
    report_kind(reader, node, key, type(rules).legal);
    return false;
  }
  auto group = parse_group(node.text);
  if (!group) {
    report_text(reader, node, key, type(rules).legal);
    return false;
  }
  if (!group->name.empty()) {
    const bool can_look_up = static_cast<bool>(reader.options().lookup_group);
    group->gid = can_look_up ? reader.options().lookup_group(group->name) : std::nullopt;
    const auto own = own_user(group->name);
    if (!group->gid && own) group->gid = own->gid;
    if (!group->gid && can_look_up) {
      reader.error(node.position, "there is no group `" + group->name + "`",
                   {"create it (groupadd --system " + group->name + ") or give a gid"});
      return false;
    }
  }
  out = std::move(*group);
  return true;
}

bool read_map_key(Reader&, const Entry& entry, std::string_view, std::string& out) {
  out = entry.key;
  return true;
}

bool read_map_key(Reader& reader, const Entry& entry, std::string_view key, unsigned& out) {
  const char* end = entry.key.data() + entry.key.size();
  const auto parsed = std::from_chars(entry.key.data(), end, out);
  if (parsed.ec == std::errc() && parsed.ptr == end && out <= 255) return true;
  reader.error(entry.position, "`" + entry.key + "` is no exit code in " + key_of(key),
               {"exit codes are whole numbers from 0 to 255"});
  return false;
}

}  // namespace pillion::config
