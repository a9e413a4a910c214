#include "config/schema.h"

#include <algorithm>
#include <charconv>

#include "config/parse_units.h"
#include "config/syscall_groups.h"

namespace pillion::config {
namespace {

constexpr std::size_t kKeysListedMax = 12;

std::vector<std::string_view> keys_of(const TableSchema& schema) {
  std::vector<std::string_view> keys;
  for (const Field& field : schema.fields) keys.push_back(field.key);
  return keys;
}

void report_unknown_keys(const TableSchema& schema, Reader& reader, const Node& node) {
  for (const Entry& entry : node.entries) {
    if (schema.find(entry.key) != nullptr) continue;
    const auto keys = keys_of(schema);
    const std::string_view near = nearest(entry.key, keys);
    std::vector<std::string> notes;
    if (!near.empty()) notes.push_back("did you mean `" + std::string(near) + "`?");
    if (near.empty() && keys.size() <= kKeysListedMax) {
      notes.push_back("known are " + list_names(keys, "and"));
    }
    const std::string what = reader.is_at_top() && entry.value.kind == Node::Kind::Table
                                 ? "unknown table [" + entry.key + "]"
                                 : "unknown key `" + entry.key + "` in " + reader.table_name();
    reader.error(entry.position, what, std::move(notes));
  }
}

void report_missing(const Field& field, Reader& reader, const Node& node) {
  const std::string key(field.key);
  if (reader.is_at_top()) {
    const bool is_table = field.type.kind == Type::Kind::Table;
    const std::string what =
        is_table ? "there is no [" + key + "] table" : "`" + key + "` is missing";
    reader.missing({}, what,
                   {is_table ? std::string(field.doc) : "it must be " + field.type.legal});
    return;
  }
  std::vector<std::string> notes;
  if (!field.type.legal.empty()) notes.push_back("it must be " + field.type.legal);
  reader.missing(node.position, reader.table_name() + " needs `" + key + "`", std::move(notes));
}

void check_choice(const Choice& choice, Reader& reader, const Node& node) {
  std::vector<const Entry*> given;
  for (const std::string_view key : choice.keys) {
    if (const Entry* entry = node.find_entry(key)) given.push_back(entry);
  }
  if (given.empty() && choice.is_required) {
    reader.missing(node.position,
                   reader.table_name() + " needs one of " + list_names(choice.keys, "and"));
  }
  for (std::size_t i = 1; i < given.size(); ++i) {
    reader.error(given[i]->position,
                 "both `" + given[0]->key + "` and `" + given[i]->key + "` are set in " +
                     reader.table_name(),
                 {(choice.is_required ? "set exactly one of " : "set at most one of ") +
                  list_names(choice.keys, "and")});
  }
}

bool is_absolute(std::string_view path) {
  return path.starts_with('/') && path.find('\0') == std::string_view::npos;
}

bool is_http_url(std::string_view url) {
  const bool is_https = url.starts_with("https://");
  if (!is_https && !url.starts_with("http://")) return false;
  url.remove_prefix(is_https ? 8 : 7);
  std::string authority(url.substr(0, url.find_first_of("/?#")));
  const auto is_plain = [](char c) { return c > ' ' && c < 0x7f; };
  if (!std::all_of(url.begin(), url.end(), is_plain)) return false;
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.rfind(':');
  const bool has_port =
      colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  if (!has_port) authority += ":443";
  return parse_host_port(authority).has_value();
}

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

constexpr std::string_view kCapabilities[] = {
    "CAP_AUDIT_CONTROL",   "CAP_AUDIT_READ",   "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",   "CAP_BPF",          "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",           "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",          "CAP_FSETID",       "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",       "CAP_KILL",         "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",           "CAP_NET_ADMIN",    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",   "CAP_NET_RAW",      "CAP_PERFMON",
    "CAP_SETFCAP",         "CAP_SETGID",       "CAP_SETPCAP",
    "CAP_SETUID",          "CAP_SYSLOG",       "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",        "CAP_SYS_CHROOT",   "CAP_SYS_MODULE",
    "CAP_SYS_NICE",        "CAP_SYS_PACCT",    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",       "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",  "CAP_WAKE_ALARM"};

bool is_capability(std::string_view name) {
  return std::find(std::begin(kCapabilities), std::end(kCapabilities), name) !=
         std::end(kCapabilities);
}

bool is_spiffe_id(std::string_view text) {
  constexpr std::string_view scheme = "spiffe://";
  if (!text.starts_with(scheme)) return false;
  text.remove_prefix(scheme.size());
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./").find(c) != std::string_view::npos;
  };
  return !text.empty() && text.front() != '/' && text.back() != '/' &&
         text.find("//") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), is_allowed);
}

// "*.example.com": what stands behind "*." is a name, not an address.
bool is_host_pattern(std::string_view text) {
  if (text == "*") return true;
  if (!text.starts_with("*.")) return is_host_name(text);
  return is_host_name(text.substr(2)) && !IpAddress::parse(text.substr(2));
}

// "0-3,8": what the kernel reads as a list of CPUs or nodes.
bool is_number_list(std::string_view text) {
  for (;;) {
    const std::string_view part = text.substr(0, text.find(','));
    const auto dash = part.find('-');
    unsigned first = 0;
    unsigned last = 0;
    const auto parse = [](std::string_view digits, unsigned& value) {
      const auto end = digits.data() + digits.size();
      const auto parsed = std::from_chars(digits.data(), end, value);
      return parsed.ec == std::errc() && parsed.ptr == end && value < 8192;
    };
    if (!parse(part.substr(0, dash), first)) return false;
    if (dash != std::string_view::npos && (!parse(part.substr(dash + 1), last) || last < first)) {
      return false;
    }
    if (part.size() == text.size()) return true;
    text.remove_prefix(part.size() + 1);
  }
}

bool fits(Form form, std::string_view text) {
  switch (form) {
    case Form::Any: return true;
    case Form::AbsolutePath:
    case Form::Glob:
    case Form::Command: return is_absolute(text);
    case Form::HostName: return is_host_name(text);
    case Form::HostPattern: return is_host_pattern(text);
    case Form::HttpUrl: return is_http_url(text);
    case Form::Name: return is_child_name(text);
    case Form::VariableName: return is_variable_name(text);
    case Form::Capability: return is_capability(text);
    case Form::SystemCall: return is_syscall_or_group(text);
    case Form::Regex: return !text.empty();
    case Form::SpiffeId: return is_spiffe_id(text);
    case Form::LogTarget: return text == "stdout" || text == "stderr" || is_absolute(text);
    case Form::NumberList: return is_number_list(text);
  }
  return true;
}

}  // namespace

bool is_syscall_or_group(std::string_view text) {
  if (text.starts_with('@')) {
    return std::find(std::begin(kSyscallGroups), std::end(kSyscallGroups), text) !=
           std::end(kSyscallGroups);
  }
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

const Field* TableSchema::find(std::string_view key) const {
  for (const Field& field : fields) {
    if (field.key == key) return &field;
  }
  return nullptr;
}

void read_table(const TableSchema& schema, Reader& reader, const Node& node, void* object) {
  if (node.kind != Node::Kind::Table) {
    if (!node.is_bad) {
      reader.error(node.position, reader.table_name() + " must be a table, not " +
                                      std::string(describe(node.kind)));
    }
    return;
  }
  report_unknown_keys(schema, reader, node);
  for (const Field& field : schema.fields) {
    const Entry* entry = node.find_entry(field.key);
    if (entry == nullptr) {
      if (field.rules.required) report_missing(field, reader, node);
      continue;
    }
    const Reader::Scope scope(reader, field.key);
    if (!entry->value.is_bad) field.read(reader, entry->value, object);
    if (field.rules.planned && !has_default(schema, field, object)) {
      reader.warning(entry->position, "`" + entry->key + "` is checked but not in effect yet");
    }
  }
  for (const Choice& choice : schema.choices) check_choice(choice, reader, node);
  if (schema.finish) schema.finish(reader, node, object);
}

Node write_table(const TableSchema& schema, const void* object) {
  Node table = Node::table();
  for (const Field& field : schema.fields) {
    if (field.rules.hide_default && has_default(schema, field, object)) continue;
    if (auto value = field.write(object)) table.add(field.key, std::move(*value));
  }
  return table;
}

bool has_default(const TableSchema& schema, const Field& field, const void* object) {
  const auto text = [&](const void* source) {
    Node holder = Node::table();
    if (auto value = field.write(source)) holder.add(field.key, std::move(*value));
    return write_document(holder);
  };
  return text(object) == text(schema.make_default().get());
}

void check_table_name(Reader& reader, const Entry& entry, std::string_view key) {
  if (is_child_name(entry.key)) return;
  reader.error(entry.position,
               "`" + entry.key + "` cannot name a table [" + std::string(key) + ".NAME]",
               {"a name is " + std::string(legal_form(Form::Name))});
}

std::string_view legal_form(Form form) {
  switch (form) {
    case Form::Any: return "";
    case Form::AbsolutePath: return "an absolute path, starting with `/`";
    case Form::Glob: return "an absolute path, where `*` and `?` match within one component";
    case Form::Command: return "a list whose first element is the absolute path of the program";
    case Form::HostName: return "a DNS name or numeric address";
    case Form::HostPattern:
      return "a DNS name, a numeric address, `*.` before a DNS name, or `*` alone";
    case Form::HttpUrl: return "a URL starting with http:// or https://";
    case Form::Name: return "lower-case letters, digits and `-`, at most 63, no `-` at the ends";
    case Form::VariableName: return "letters, digits and `_`, not starting with a digit";
    case Form::Capability: return "a Linux capability such as \"CAP_NET_BIND_SERVICE\"";
    case Form::SystemCall: return "the name of a system call, or a group such as \"@mount\"";
    case Form::Regex: return "a regular expression, not empty";
    case Form::SpiffeId: return "\"spiffe://trust-domain\" or \"spiffe://trust-domain/path\"";
    case Form::LogTarget: return "\"stdout\", \"stderr\" or an absolute path";
    case Form::NumberList: return "numbers and ranges, such as \"0\" or \"0-3,8\"";
  }
  return "";
}

bool check_form(Form form, Reader& reader, const Position& at, std::string_view key,
                std::string_view text) {
  if (fits(form, text)) return true;
  std::vector<std::string> notes;
  const std::string name(key);
  const std::string shown = "\"" + std::string(text) + "\"";
  std::string message = "`" + name + "` cannot be " + shown;
  const bool is_path = form == Form::AbsolutePath || form == Form::Glob || form == Form::Command;
  if (is_path) message = "`" + name + "` holds the relative path " + shown;
  if (is_path && text.empty()) message = "`" + name + "` holds an empty path";
  notes.push_back("it must be " + std::string(legal_form(form)));
  if (form == Form::HostPattern && text.find('*') != std::string_view::npos) {
    notes.push_back(
        "a `*` stands alone for what is in front: \"*.example.com\" takes every name "
        "below example.com");
  }
  if (form == Form::Capability) {
    const std::string_view near =
        nearest(text, {std::begin(kCapabilities), std::end(kCapabilities)});
    if (!near.empty()) notes.back() = "did you mean `" + std::string(near) + "`?";
  }
  if (form == Form::SystemCall && text.starts_with('@')) {
    const std::vector<std::string_view> groups(std::begin(kSyscallGroups),
                                               std::end(kSyscallGroups));
    const std::string_view near = nearest(text, groups);
    notes.back() = near.empty() ? "the groups are " + list_names(groups, "and")
                                : "did you mean `" + std::string(near) + "`?";
  }
  reader.error(at, std::move(message), std::move(notes));
  return false;
}

}  // namespace pillion::config
