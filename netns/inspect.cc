#include "netns/inspect.h"

#include <fmt/format.h>

#include "netns/iptables.h"
#include "netns/namespace.h"
#include "netns/nft.h"
#include "netns/rtnetlink.h"
#include "netns/rules.h"
#include "netns/sysctl.h"
#include "runtime/json_text.h"

namespace pillion::netns {
namespace {

std::string table_text(const std::string& table) {
  auto text = run_nft("list table inet " + table + "\n");
  return text ? *text : "";
}

void append_member(std::string& out, std::string_view key, std::string_view value) {
  out += "  ";
  append_json_string(out, key);
  out += ": ";
  append_json_string(out, value);
}

std::string bool_text(bool value) { return value ? "true" : "false"; }

// Interface `name` in the current namespace: up, with at least one global address of the family.
Check check_interface(std::string_view what, const std::string& name) {
  Check check{fmt::format("{} {}", what, name), false, "missing"};
  auto netlink = RouteNetlink::open();
  if (!netlink) return check.detail = netlink.error().message(), check;
  auto interfaces = netlink->interfaces();
  auto addresses = netlink->addresses();
  if (!interfaces || !addresses) return check.detail = "cannot be listed", check;
  for (const Interface& item : *interfaces) {
    if (item.name != name) continue;
    std::string texts;
    for (const InterfaceAddress& address : *addresses) {
      if (address.interface_index != item.index || address.cidr.address.is_link_local()) continue;
      texts += (texts.empty() ? "" : " ") + address.cidr.text();
    }
    check.is_ok = item.is_up && !texts.empty();
    check.detail =
        fmt::format("{}, {}", item.is_up ? "up" : "down", texts.empty() ? "no address" : texts);
  }
  return check;
}

Check check_table(std::string_view what, const std::string& table) {
  const bool is_there = !table_text(table).empty();
  return {fmt::format("{} table inet {}", what, table), is_there, is_there ? "loaded" : "missing"};
}

std::string capture_text(const Wanted& wanted) {
  const std::string table = table_text(capture_table_of(wanted));
  return table.empty() ? list_iptables_capture(wanted.service) : table;
}

Check check_capture(const Wanted& wanted) {
  Check check = check_table("capture", capture_table_of(wanted));
  if (check.is_ok || list_iptables_capture(wanted.service).empty()) return check;
  return {"capture by iptables", true, "loaded"};
}

Check check_forwarding() {
  const std::string value = read_sysctl("net/ipv4/ip_forward");
  return {"forwarding net.ipv4.ip_forward", value == "1", value};
}

std::vector<Check> check_inside(const Wanted& wanted, bool with_capture) {
  std::vector<Check> checks;
  checks.push_back(check_interface("inner interface", "lo"));
  if (wanted.mode == Mode::Bridged) {
    checks.push_back(check_interface("inner interface", std::string(kInnerInterface)));
  }
  if (with_capture) checks.push_back(check_capture(wanted));
  return checks;
}

}  // namespace

Result<Inspection> inspect(const Wanted& wanted) {
  const Names names = names_of(wanted.service);
  Inspection inspection;
  inspection.service = wanted.service;
  auto netlink = RouteNetlink::open();
  if (!netlink) return fail(netlink.error());
  auto index = netlink->index_of(names.host_interface);
  inspection.has_interface = index && *index != 0;
  if (wanted.mode == Mode::Bridged) inspection.host_rules = table_text(names.host_table);
  auto inside = open_namespace(wanted);
  if (!inside) return inspection;
  auto scope = NamespaceScope::enter(inside->get());
  if (!scope) return inspection;  // an unmounted leftover
  inspection.is_pinned = wanted.mode == Mode::Bridged;
  inspection.capture_rules = capture_text(wanted);
  return inspection;
}

std::string inspection_to_json(const Inspection& inspection) {
  const Names names = names_of(inspection.service);
  std::string out = "{\n";
  append_member(out, "service", inspection.service);
  out += ",\n";
  append_member(out, "netns_path", names.netns_path);
  out += fmt::format(",\n  \"is_pinned\": {},\n", bool_text(inspection.is_pinned));
  append_member(out, "host_interface", names.host_interface);
  out += fmt::format(",\n  \"has_interface\": {},\n", bool_text(inspection.has_interface));
  append_member(out, "host_rules", inspection.host_rules);
  out += ",\n";
  append_member(out, "capture_rules", inspection.capture_rules);
  return out + "\n}\n";
}

Result<std::vector<Check>> verify(const Wanted& wanted, bool with_capture) {
  const Names names = names_of(wanted.service);
  std::vector<Check> checks;
  if (wanted.mode == Mode::Bridged) {
    checks.push_back(check_interface("host interface", names.host_interface));
    checks.push_back(check_table("host", names.host_table));
    checks.push_back(check_forwarding());
  }
  auto inside = open_namespace(wanted);
  Check pin{"namespace", false, ""};
  if (!inside) {
    pin.detail = inside.error().message();
    checks.push_back(pin);
    return checks;
  }
  auto scope = NamespaceScope::enter(inside->get());
  if (!scope) {
    pin.detail = scope.error().message();
    checks.push_back(pin);
    return checks;
  }
  checks.push_back({"namespace", true, "can be entered"});
  for (Check& check : check_inside(wanted, with_capture)) checks.push_back(std::move(check));
  return checks;
}

std::string checks_to_json(const std::vector<Check>& checks) {
  std::string out = "[\n";
  for (const Check& check : checks) {
    out += "  {\"name\": ";
    append_json_string(out, check.name);
    out += fmt::format(", \"is_ok\": {}, \"detail\": ", bool_text(check.is_ok));
    append_json_string(out, check.detail);
    out += &check == &checks.back() ? "}\n" : "},\n";
  }
  return out + "]\n";
}

}  // namespace pillion::netns
