// A record as a message of RFC 5424. Pure.
#pragma once

#include <string>
#include <string_view>

namespace pillion::logs {

struct SyslogLineOptions {
  unsigned facility = 1;             // 0 to 23
  std::size_t bytes_max = SIZE_MAX;  // a longer message is cut between characters
};

// `<14>1 2024-01-15T14:32:01.5Z web orders 4711 - [fields@32473 sku="A-1"] low stock` of a record
// as an Encoder writes it. The name of the app is process.name or service.name; what has no place
// of its own becomes structured data (RFC 5424 §6.3), nested values as JSON text.
std::string syslog_line(std::string_view record, const SyslogLineOptions& options);

// 0 to 7 (RFC 5424 table 2) of a level as an Encoder spells it; 6 for an unknown one.
unsigned syslog_severity(std::string_view level);

}  // namespace pillion::logs
