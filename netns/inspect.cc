#include "netns/inspect.h"

#include <fmt/format.h>

#include "netns/iptables.h"
#include "netns/namespace.h"
#include "netns/nft.h"
#include "netns/rtnetlink.h"
#include "netns/rules.h"
#include "runtime/json_text.h"

namespace pillion::netns {
namespace {

void append_member(std::string& out, std::string_view key, std::string_view value) {
  out += "  ";
  append_json_string(out, key);
  out += ": ";
  append_json_string(out, value);
}

std::string bool_text(bool value) { return value ? "true" : "false"; }

}  // namespace

std::string list_table(const std::string& table) {
  auto text = run_nft("list table inet " + table + "\n");
  return text ? *text : "";
}

std::string inspect_inside(const Wanted& wanted) {
  const std::string table = list_table(capture_table_of(wanted));
  return table.empty() ? list_iptables_capture(wanted.service) : table;
}

Result<Inspection> inspect(const Wanted& wanted) {
  const Names names = names_of(wanted.service);
  Inspection inspection;
  inspection.service = wanted.service;
  auto netlink = RouteNetlink::open();
  if (!netlink) return fail(netlink.error());
  auto index = netlink->index_of(names.host_interface);
  inspection.has_interface = index && *index != 0;
  if (wanted.mode == Mode::Bridged) inspection.host_rules = list_table(names.host_table);
  auto inside = open_namespace(wanted);
  if (!inside) return inspection;
  auto scope = NamespaceScope::enter(inside->get());
  if (!scope) return inspection;  // an unmounted leftover
  inspection.is_pinned = wanted.mode == Mode::Bridged;
  inspection.capture_rules = inspect_inside(wanted);
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

}  // namespace pillion::netns
