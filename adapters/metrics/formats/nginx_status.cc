#include "adapters/metrics/formats/nginx_status.h"

#include <algorithm>
#include <vector>

#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) break;
    text.remove_prefix(first);
    const auto end = std::min(text.find_first_of(" \t\r\n"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return words;
}

}  // namespace

Result<Families> parse_nginx_status(std::string_view text) {
  const auto words = words_of(text);
  // "Active connections: 2 server accepts handled requests 10 10 31 Reading: 0 Writing: 1 Waiting:
  // 1"
  constexpr std::string_view kWords[] = {
      "Active", "connections:", "", "server",   "accepts", "handled",  "requests", "", "",
      "",       "Reading:",     "", "Writing:", "",        "Waiting:", ""};
  if (words.size() != std::size(kWords)) return fail("this is no page of stub_status");
  std::vector<double> numbers;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (kWords[i].empty()) {
      const auto number = parse_number(words[i]);
      if (!number) return fail("\"" + clean_text(words[i].substr(0, 40)) + "\" is no number");
      numbers.push_back(*number);
    } else if (words[i] != kWords[i]) {
      return fail("this is no page of stub_status");
    }
  }
  Families families;
  families.add("nginx_connections_active", Kind::Gauge, numbers[0], {},
               "Open client connections, idle ones included.");
  families.add("nginx_connections_accepted_total", Kind::Counter, numbers[1], {},
               "Client connections accepted.");
  families.add("nginx_connections_handled_total", Kind::Counter, numbers[2], {},
               "Client connections that no limit stopped.");
  families.add("nginx_http_requests_total", Kind::Counter, numbers[3], {}, "Requests.");
  families.add("nginx_connections_reading", Kind::Gauge, numbers[4], {},
               "Connections whose request is being read.");
  families.add("nginx_connections_writing", Kind::Gauge, numbers[5], {},
               "Connections whose response is being written.");
  families.add("nginx_connections_waiting", Kind::Gauge, numbers[6], {},
               "Idle connections that wait for a request.");
  return families;
}

}  // namespace pillion::metrics
