// JSON in and out for Wanted and Facts, strict: a key that is not known is an error that names its
// path. nlohmann/json stays inside this file; it never throws here (every access is checked first).
#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "netns/facts.h"
#include "netns/wanted.h"

namespace pillion::netns {
namespace {

using Json = nlohmann::ordered_json;

template<class Enum>
using EnumName = std::pair<std::string_view, Enum>;

// Reads the members of one JSON object; collects the first error and ignores what follows it.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string path, std::optional<Error>& error)
      : object_(object), path_(std::move(path)), error_(error) {
    if (!object_.is_object()) complain("", "must be an object");
  }

  void read(const char* key, bool& value) {
    with(key, "must be true or false", [&](const Json& json) {
      if (json.is_boolean()) value = json.get<bool>();
      return json.is_boolean();
    });
  }
  void read(const char* key, std::string& value) {
    with(key, "must be a string", [&](const Json& json) {
      if (json.is_string()) value = json.get<std::string>();
      return json.is_string();
    });
  }
  template<class Integer>
  void read_integer(const char* key, Integer& value, std::uint64_t least, std::uint64_t most) {
    with(key, fmt::format("must be an integer from {} to {}", least, most),
         [&](const Json& json) { return integer_of(json, value, least, most); });
  }
  template<class Integer>
  void read_integers(const char* key, std::vector<Integer>& values, std::uint64_t least,
                     std::uint64_t most) {
    with(key, fmt::format("must be a list of integers from {} to {}", least, most),
         [&](const Json& json) {
           return list_of(json, values, [&](const Json& item, Integer& value) {
             return integer_of(item, value, least, most);
           });
         });
  }
  void read(const char* key, std::vector<std::string>& values) {
    with(key, "must be a list of strings", [&](const Json& json) {
      return list_of(json, values, [](const Json& item, std::string& value) {
        if (item.is_string()) value = item.get<std::string>();
        return item.is_string();
      });
    });
  }
  void read(const char* key, std::vector<PortRange>& values) {
    with(key, "must be a list of ports (80) and port ranges (\"8000-8010\")",
         [&](const Json& json) { return list_of(json, values, port_range_of); });
  }
  void read(const char* key, Cidr& value) {
    with(key, "must be an address range such as \"10.0.0.0/8\"",
         [&](const Json& json) { return cidr_of(json, value); });
  }
  void read(const char* key, std::vector<Cidr>& values) {
    with(key, "must be a list of address ranges such as \"10.0.0.0/8\"",
         [&](const Json& json) { return list_of(json, values, cidr_of); });
  }
  template<class Enum, std::size_t Count>
  void read_enum(const char* key, Enum& value, const EnumName<Enum> (&names)[Count]) {
    std::string legal;
    for (const auto& [name, unused] : names) legal += fmt::format(" {}", name);
    with(key, "must be one of:" + legal, [&](const Json& json) {
      if (!json.is_string()) return false;
      for (const auto& [name, candidate] : names) {
        if (json.get_ref<const std::string&>() == name) return value = candidate, true;
      }
      return false;
    });
  }
  void read_object(const char* key, const std::function<void(ObjectReader&)>& read_members) {
    with(key, "must be an object", [&](const Json& json) {
      ObjectReader reader(json, path_of(key), error_);
      reader.finish(read_members);
      return true;
    });
  }
  template<class Item>
  void read_objects(const char* key, std::vector<Item>& items,
                    const std::function<void(ObjectReader&, Item&)>& read_members) {
    with(key, "must be a list of objects", [&](const Json& json) {
      if (!json.is_array()) return false;
      for (const Json& element : json) {
        ObjectReader reader(element, fmt::format("{}[{}]", path_of(key), items.size()), error_);
        Item item;
        reader.finish([&](ObjectReader& members) { read_members(members, item); });
        items.push_back(std::move(item));
      }
      return true;
    });
  }

  // Calls `read_members`, then complains about keys that it did not ask for.
  void finish(const std::function<void(ObjectReader&)>& read_members) {
    if (error_) return;
    read_members(*this);
    for (const auto& [key, unused] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        complain(key, "is not a known key");
      }
    }
  }
  void complain(std::string_view key, std::string_view what) {
    if (!error_) error_ = Error(fmt::format("{} {}", path_of(key), what));
  }

 private:
  std::string path_of(std::string_view key) const {
    if (path_.empty()) return key.empty() ? "the document" : std::string(key);
    return key.empty() ? path_ : fmt::format("{}.{}", path_, key);
  }
  void with(const char* key, std::string_view rule, const std::function<bool(const Json&)>& take) {
    known_.emplace_back(key);
    if (error_) return;
    const auto found = object_.find(key);
    if (found == object_.end()) return;
    if (!take(*found)) complain(key, rule);
  }
  template<class Integer>
  static bool integer_of(const Json& json, Integer& value, std::uint64_t least,
                         std::uint64_t most) {
    if (!json.is_number_unsigned()) return false;
    const auto number = json.get<std::uint64_t>();
    if (number < least || number > most) return false;
    value = static_cast<Integer>(number);
    return true;
  }
  static bool port_range_of(const Json& json, PortRange& range) {
    if (integer_of(json, range.first, 1, 65535)) return range.last = range.first, true;
    if (!json.is_string()) return false;
    const std::string& text = json.get_ref<const std::string&>();
    const auto dash = text.find('-');
    if (dash == std::string::npos) return false;
    const Json first = Json::parse(text.substr(0, dash), nullptr, false);
    const Json last = Json::parse(text.substr(dash + 1), nullptr, false);
    return integer_of(first, range.first, 1, 65535) &&
           integer_of(last, range.last, range.first, 65535);
  }
  static bool cidr_of(const Json& json, Cidr& value) {
    if (!json.is_string()) return false;
    auto parsed = parse_cidr(json.get_ref<const std::string&>());
    if (parsed) value = *parsed;
    return parsed.has_value();
  }
  template<class Item, class Take>
  static bool list_of(const Json& json, std::vector<Item>& items, Take take) {
    if (!json.is_array()) return false;
    items.clear();
    for (const Json& element : json) {
      Item item{};
      if (!take(element, item)) return false;
      items.push_back(std::move(item));
    }
    return true;
  }

  const Json& object_;
  std::string path_;
  std::optional<Error>& error_;
  std::vector<std::string> known_;
};

constexpr EnumName<Mode> kModes[] = {{"bridged", Mode::Bridged},
                                     {"sealed", Mode::Sealed},
                                     {"host", Mode::Host},
                                     {"join", Mode::Join}};
constexpr EnumName<InboundMethod> kInboundMethods[] = {{"auto", InboundMethod::Auto},
                                                       {"redirect", InboundMethod::Redirect},
                                                       {"tproxy", InboundMethod::Tproxy}};
constexpr EnumName<Backend> kBackends[] = {
    {"auto", Backend::Auto}, {"nftables", Backend::Nftables}, {"iptables", Backend::Iptables}};
constexpr EnumName<ProxyDown> kProxyDown[] = {{"closed", ProxyDown::Closed},
                                              {"open", ProxyDown::Open}};
constexpr EnumName<Transport> kTransports[] = {{"tcp", Transport::Tcp}, {"udp", Transport::Udp}};

template<class Enum, std::size_t Count>
std::string enum_text(Enum value, const EnumName<Enum> (&names)[Count]) {
  for (const auto& [name, candidate] : names) {
    if (candidate == value) return std::string(name);
  }
  PILLION_ASSERT(false);
}

constexpr std::uint64_t kUidMax = 0xfffffffe;

void read_intercept(ObjectReader& reader, Intercept& intercept) {
  reader.read("inbound", intercept.inbound);
  reader.read("outbound", intercept.outbound);
  reader.read_enum("inbound_method", intercept.inbound_method, kInboundMethods);
  reader.read_enum("backend", intercept.backend, kBackends);
  reader.read_enum("when_proxy_down", intercept.when_proxy_down, kProxyDown);
  reader.read_integer("inbound_port", intercept.inbound_port, 1, 65535);
  reader.read_integer("outbound_port", intercept.outbound_port, 1, 65535);
  reader.read_integer("dns_port", intercept.dns_port, 1, 65535);
  reader.read_integers("inbound_ports", intercept.inbound_ports, 1, 65535);
  reader.read("all_inbound_ports", intercept.all_inbound_ports);
  reader.read_integers("exclude_inbound_ports", intercept.exclude_inbound_ports, 1, 65535);
  reader.read("exclude_outbound_ports", intercept.exclude_outbound_ports);
  reader.read("include_outbound_ports", intercept.include_outbound_ports);
  reader.read("exclude_outbound_cidrs", intercept.exclude_outbound_cidrs);
  reader.read("include_outbound_cidrs", intercept.include_outbound_cidrs);
  reader.read_integer("proxy_uid", intercept.proxy_uid, 0, kUidMax);
  reader.read_integers("exempt_uids", intercept.exempt_uids, 0, kUidMax);
  reader.read_integers("exempt_gids", intercept.exempt_gids, 0, kUidMax);
  reader.read_integers("only_uids", intercept.only_uids, 0, kUidMax);
  reader.read_integers("only_gids", intercept.only_gids, 0, kUidMax);
  reader.read("exclude_interfaces", intercept.exclude_interfaces);
  for (const std::string& name : intercept.exclude_interfaces) {
    if (!is_interface_name(name)) {
      reader.complain("exclude_interfaces", "must be a list of names of network interfaces");
    }
  }
  reader.read("dns", intercept.dns);
}

void read_publish(ObjectReader& reader, Publish& publish) {
  reader.read("host_address", publish.host_address);
  reader.read_integer("host_port", publish.host_port, 1, 65535);
  reader.read_integer("port", publish.port, 1, 65535);
  reader.read_enum("transport", publish.transport, kTransports);
  reader.read("is_translated", publish.is_translated);
  if (!publish.host_address.empty() && !parse_address(publish.host_address)) {
    reader.complain("host_address", "must be an IPv4 or IPv6 address");
  }
  if (publish.host_port == 0) reader.complain("host_port", "is missing");
  if (publish.port == 0) reader.complain("port", "is missing");
}

// What goes into resolv.conf and hosts must not end its line, or start another word.
void check_words(ObjectReader& reader, const char* key, const std::vector<std::string>& words) {
  const auto is_plain = [](char c) { return c > ' ' && c < 0x7f && c != '#' && c != ';'; };
  for (const std::string& word : words) {
    if (word.empty() || !std::all_of(word.begin(), word.end(), is_plain)) {
      reader.complain(key, "must be a list of words without blanks");
    }
  }
}

void read_alias(ObjectReader& reader, HostAlias& alias) {
  reader.read("address", alias.address);
  reader.read("names", alias.names);
  if (!parse_address(alias.address)) reader.complain("address", "must be an IP address");
  check_words(reader, "names", alias.names);
}

bool is_service_name(std::string_view name) {
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 63 && is_plain(name.front()) && is_plain(name.back()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return c == '-' || is_plain(c); });
}

void check_pools(ObjectReader& reader, const Wanted& wanted) {
  if (wanted.pool.address.family != Family::V4 || wanted.pool.prefix_length > 30) {
    reader.complain("pool", "must be an IPv4 range of /30 or larger");
  }
  if (wanted.pool6.address.family != Family::V6 || wanted.pool6.prefix_length > 64) {
    reader.complain("pool6", "must be an IPv6 range of /64 or larger");
  }
}

void read_wanted(ObjectReader& reader, Wanted& wanted) {
  reader.read("service", wanted.service);
  reader.read_enum("mode", wanted.mode, kModes);
  reader.read("join", wanted.join);
  reader.read("pool", wanted.pool);
  reader.read("pool6", wanted.pool6);
  reader.read("ipv6", wanted.ipv6);
  reader.read_integer("mtu", wanted.mtu, 0, 65535);
  reader.read("in_place", wanted.is_in_place);
  reader.read_object("intercept",
                     [&](ObjectReader& members) { read_intercept(members, wanted.intercept); });
  reader.read_objects<Publish>("publish", wanted.publish, read_publish);
  reader.read_objects<HostAlias>("aliases", wanted.aliases, read_alias);
  reader.read_object("dns", [&](ObjectReader& members) {
    members.read("nameservers", wanted.dns.nameservers);
    members.read("search", wanted.dns.search);
    members.read("options", wanted.dns.options);
    check_words(members, "nameservers", wanted.dns.nameservers);
    check_words(members, "search", wanted.dns.search);
    check_words(members, "options", wanted.dns.options);
  });
  if (!is_service_name(wanted.service)) {
    reader.complain("service",
                    "must be a name of at most 63 characters a-z, 0-9 and -, not starting or "
                    "ending with -");
  }
  if (wanted.mode == Mode::Join && wanted.join.empty()) {
    reader.complain("join", "must name a namespace when the mode is join");
  }
  check_pools(reader, wanted);
}

Json to_json(const std::vector<Cidr>& cidrs) {
  Json list = Json::array();
  for (const Cidr& cidr : cidrs) list.push_back(cidr.text());
  return list;
}

Json to_json(const std::vector<PortRange>& ranges) {
  Json list = Json::array();
  for (const PortRange& range : ranges) {
    if (range.first == range.last) {
      list.push_back(range.first);
    } else {
      list.push_back(fmt::format("{}-{}", range.first, range.last));
    }
  }
  return list;
}

Json to_json(const Intercept& intercept) {
  return {{"inbound", intercept.inbound},
          {"outbound", intercept.outbound},
          {"inbound_method", inbound_method_text(intercept.inbound_method)},
          {"backend", backend_text(intercept.backend)},
          {"when_proxy_down", proxy_down_text(intercept.when_proxy_down)},
          {"inbound_port", intercept.inbound_port},
          {"outbound_port", intercept.outbound_port},
          {"dns_port", intercept.dns_port},
          {"inbound_ports", intercept.inbound_ports},
          {"all_inbound_ports", intercept.all_inbound_ports},
          {"exclude_inbound_ports", intercept.exclude_inbound_ports},
          {"exclude_outbound_ports", to_json(intercept.exclude_outbound_ports)},
          {"include_outbound_ports", to_json(intercept.include_outbound_ports)},
          {"exclude_outbound_cidrs", to_json(intercept.exclude_outbound_cidrs)},
          {"include_outbound_cidrs", to_json(intercept.include_outbound_cidrs)},
          {"proxy_uid", intercept.proxy_uid},
          {"exempt_uids", intercept.exempt_uids},
          {"exempt_gids", intercept.exempt_gids},
          {"only_uids", intercept.only_uids},
          {"only_gids", intercept.only_gids},
          {"exclude_interfaces", intercept.exclude_interfaces},
          {"dns", intercept.dns}};
}

Json to_json(const Publish& publish) {
  return {{"host_address", publish.host_address},
          {"host_port", publish.host_port},
          {"port", publish.port},
          {"transport", enum_text(publish.transport, kTransports)},
          {"is_translated", publish.is_translated}};
}

template<class Value>
Result<Value> parse_document(std::string_view text, void (*read)(ObjectReader&, Value&)) {
  const Json document = Json::parse(text.begin(), text.end(), nullptr, false);
  if (document.is_discarded()) return fail("the input is not valid JSON");
  Value value;
  std::optional<Error> error;
  ObjectReader reader(document, "", error);
  reader.finish([&](ObjectReader& members) { read(members, value); });
  if (error) return fail(*error);
  return value;
}

void read_facts(ObjectReader& reader, Facts& facts) {
  reader.read("service", facts.service);
  reader.read_enum("mode", facts.mode, kModes);
  reader.read("netns_path", facts.netns_path);
  reader.read("interface", facts.interface);
  reader.read("address4", facts.address4);
  reader.read("gateway4", facts.gateway4);
  reader.read("address6", facts.address6);
  reader.read("gateway6", facts.gateway6);
  reader.read("host_interface", facts.host_interface);
  reader.read_integer("mtu", facts.mtu, 0, 65535);
  reader.read("host_table", facts.host_table);
  reader.read("capture_table", facts.capture_table);
  reader.read_enum("inbound_method", facts.inbound_method, kInboundMethods);
  reader.read("hosts", facts.hosts);
  reader.read("helper_hosts", facts.helper_hosts);
  reader.read("resolv_conf", facts.resolv_conf);
  reader.read("nsswitch_conf", facts.nsswitch_conf);
  reader.read_objects<ChangedSysctl>("changed_sysctls", facts.changed_sysctls,
                                     [](ObjectReader& members, ChangedSysctl& changed) {
                                       members.read("name", changed.name);
                                       members.read("old_value", changed.old_value);
                                       members.read("new_value", changed.new_value);
                                     });
  reader.read("warnings", facts.warnings);
}

void read_capture_facts(ObjectReader& reader, CaptureFacts& facts) {
  reader.read_enum("backend", facts.backend, kBackends);
  reader.read("backend_reason", facts.backend_reason);
  reader.read_enum("inbound_method", facts.inbound_method, kInboundMethods);
  reader.read("inbound_reason", facts.inbound_reason);
  reader.read_enum("when_proxy_down", facts.when_proxy_down, kProxyDown);
}

}  // namespace

Result<Wanted> parse_wanted(std::string_view json_text) {
  return parse_document<Wanted>(json_text, read_wanted);
}

std::string wanted_to_json(const Wanted& wanted) {
  Json publish = Json::array();
  for (const Publish& item : wanted.publish) publish.push_back(to_json(item));
  Json aliases = Json::array();
  for (const HostAlias& item : wanted.aliases) {
    aliases.push_back({{"address", item.address}, {"names", item.names}});
  }
  const Json document = {{"service", wanted.service},
                         {"mode", mode_text(wanted.mode)},
                         {"join", wanted.join},
                         {"pool", wanted.pool.text()},
                         {"pool6", wanted.pool6.text()},
                         {"ipv6", wanted.ipv6},
                         {"mtu", wanted.mtu},
                         {"in_place", wanted.is_in_place},
                         {"intercept", to_json(wanted.intercept)},
                         {"publish", publish},
                         {"aliases", aliases},
                         {"dns",
                          {{"nameservers", wanted.dns.nameservers},
                           {"search", wanted.dns.search},
                           {"options", wanted.dns.options}}}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Facts> parse_facts(std::string_view json_text) {
  return parse_document<Facts>(json_text, read_facts);
}

Result<CaptureFacts> parse_capture_facts(std::string_view json_text) {
  return parse_document<CaptureFacts>(json_text, read_capture_facts);
}

std::string capture_facts_to_json(const CaptureFacts& facts) {
  const Json document = {{"backend", backend_text(facts.backend)},
                         {"backend_reason", facts.backend_reason},
                         {"inbound_method", inbound_method_text(facts.inbound_method)},
                         {"inbound_reason", facts.inbound_reason},
                         {"when_proxy_down", proxy_down_text(facts.when_proxy_down)}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string facts_to_json(const Facts& facts) {
  Json changed = Json::array();
  for (const ChangedSysctl& item : facts.changed_sysctls) {
    changed.push_back(
        {{"name", item.name}, {"old_value", item.old_value}, {"new_value", item.new_value}});
  }
  const Json document = {{"service", facts.service},
                         {"mode", mode_text(facts.mode)},
                         {"netns_path", facts.netns_path},
                         {"interface", facts.interface},
                         {"address4", facts.address4},
                         {"gateway4", facts.gateway4},
                         {"address6", facts.address6},
                         {"gateway6", facts.gateway6},
                         {"host_interface", facts.host_interface},
                         {"mtu", facts.mtu},
                         {"host_table", facts.host_table},
                         {"capture_table", facts.capture_table},
                         {"inbound_method", inbound_method_text(facts.inbound_method)},
                         {"hosts", facts.hosts},
                         {"helper_hosts", facts.helper_hosts},
                         {"resolv_conf", facts.resolv_conf},
                         {"nsswitch_conf", facts.nsswitch_conf},
                         {"changed_sysctls", changed},
                         {"warnings", facts.warnings}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pillion::netns
