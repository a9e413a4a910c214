#include "supervisor/core/diagram.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "supervisor/core/child_machine.h"
#include "supervisor/core/service_machine.h"

namespace pillion::supervisor::core {

namespace {

// Mermaid's state names are single words.
std::string node(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c == ' ' || c == '-') c = '_';
  }
  return out;
}

// All events that lead from one state to another share an arrow, or the picture is unreadable.
template<class Table, class State>
void append_arrows(std::string& out, const Table& table, State from, State to) {
  std::string label;
  for (const auto& row : table) {
    if (row.from != from || row.to != to) continue;
    label += fmt::format("{}{}", label.empty() ? "" : ", ", to_string(row.event));
    const std::string_view effect = to_string(row.effect);
    if (!effect.empty()) label += fmt::format(" / {}", effect);
  }
  if (label.empty()) return;
  out += fmt::format("    {} --> {}: {}\n", node(to_string(from)), node(to_string(to)), label);
}

template<class Table, class States>
std::string diagram(const Table& table, const States& states, std::string_view initial) {
  std::string out = "```mermaid\nstateDiagram-v2\n";
  for (const auto state : states) {
    const std::string_view name = to_string(state);
    if (node(name) != name) out += fmt::format("    state \"{}\" as {}\n", name, node(name));
  }
  out += fmt::format("    [*] --> {}\n", node(initial));
  for (const auto from : states) {
    for (const auto to : states) append_arrows(out, table, from, to);
  }
  return out + "```\n";
}

}  // namespace

std::string child_diagram() {
  return diagram(child_table(), kChildStates, to_string(ChildState::Waiting));
}

std::string service_diagram() {
  return diagram(service_table(), kServiceStates, to_string(ServiceState::Preparing));
}

}  // namespace pillion::supervisor::core
