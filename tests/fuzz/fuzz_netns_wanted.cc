// Fuzz target: the documents that pillion-netns reads. What is accepted keeps its meaning through
// JSON, and renders rules without a line that came from the outside.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "netns/facts.h"
#include "netns/rules.h"
#include "netns/wanted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pillion::netns;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto wanted = parse_wanted(text)) {
    auto again = parse_wanted(wanted_to_json(*wanted));
    PILLION_ASSERT(again && *again == *wanted);
    Facts facts;
    facts.address4 = "10.213.0.2";
    facts.address6 = "fd70::2";
    facts.host_interface = names_of(wanted->service).host_interface;
    facts.host_table = names_of(wanted->service).host_table;
    const std::string rules = render_capture_rules(*wanted) + render_host_rules(*wanted, facts);
    PILLION_ASSERT(rules.find('\0') == std::string::npos);
  }
  if (auto facts = parse_facts(text)) PILLION_ASSERT(parse_facts(facts_to_json(*facts)));
  return 0;
}
