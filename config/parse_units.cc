#include "config/parse_units.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <limits>
#include <utility>

namespace pillion::config {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }

// Decimal digits only: no sign, no blanks, no overflow.
template<class T>
std::optional<T> parse_number(std::string_view text, int base = 10) {
  T value{};
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view take_digits(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  const std::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

// whole.fraction × factor, exactly; empty when it does not come out whole or overflows.
std::optional<std::uint64_t> scale_decimal(std::string_view whole, std::string_view fraction,
                                           std::uint64_t factor) {
  const auto units = parse_number<std::uint64_t>(whole);
  if (!units || fraction.size() > 6) return std::nullopt;
  std::uint64_t result = 0;
  if (__builtin_mul_overflow(*units, factor, &result)) return std::nullopt;
  if (fraction.empty()) return result;
  std::uint64_t divisor = 1;
  for (std::size_t i = 0; i < fraction.size(); ++i) divisor *= 10;
  // Below 2^20 × 2^40: no overflow.
  const std::uint64_t part = *parse_number<std::uint64_t>(fraction) * factor;
  if (part % divisor != 0) return std::nullopt;
  if (__builtin_add_overflow(result, part / divisor, &result)) {
    return std::nullopt;
  }
  return result;
}

// Splits "12.5rest" into whole, fraction and rest; a point must have digits on both sides.
struct Decimal {
  std::string_view whole;
  std::string_view fraction;
  std::string_view rest;
};
std::optional<Decimal> take_decimal(std::string_view text) {
  Decimal decimal;
  decimal.whole = take_digits(text);
  if (decimal.whole.empty()) return std::nullopt;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    decimal.fraction = take_digits(text);
    if (decimal.fraction.empty()) return std::nullopt;
  }
  decimal.rest = text;
  return decimal;
}

std::optional<std::uint64_t> unit_factor(
    std::string_view unit,
    std::initializer_list<std::pair<std::string_view, std::uint64_t>> units) {
  for (const auto& [name, factor] : units) {
    if (name == unit) return factor;
  }
  return std::nullopt;
}

struct NamedSignal {
  std::string_view name;
  int number;
};
constexpr NamedSignal kSignals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT}, {"ILL", SIGILL},
    {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},     {"BUS", SIGBUS},   {"FPE", SIGFPE},
    {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM}, {"STKFLT", SIGSTKFLT},
    {"CHLD", SIGCHLD}, {"CONT", SIGCONT},     {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},
    {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},   {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH},
    {"IO", SIGIO},     {"PWR", SIGPWR},       {"SYS", SIGSYS}};

// Splits "[v6]:rest" or "host:rest" at the last colon; the host comes without brackets.
std::optional<std::pair<std::string_view, std::string_view>> split_host(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find("]:");
    if (close == std::string_view::npos) return std::nullopt;
    return std::pair(text.substr(1, close - 1), text.substr(close + 2));
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  if (host.find(':') != std::string_view::npos) return std::nullopt;
  return std::pair(host, text.substr(colon + 1));
}

bool is_account_name(std::string_view text) {
  if (text.empty() || text.size() > 32 || !(is_letter(text[0]) || text[0] == '_')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '$';
  });
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.empty()) return std::nullopt;
  std::uint64_t total = 0;
  std::uint64_t previous_factor = std::numeric_limits<std::uint64_t>::max();
  while (!text.empty()) {
    const auto number = take_decimal(text);
    if (!number) return std::nullopt;
    text = number->rest;
    std::size_t length = 0;
    while (length < text.size() && is_lower(text[length])) ++length;
    const auto factor =
        unit_factor(text.substr(0, length),
                    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}});
    if (!factor || *factor >= previous_factor) return std::nullopt;
    previous_factor = *factor;
    text.remove_prefix(length);
    const auto part = scale_decimal(number->whole, number->fraction, *factor);
    // The bound keeps the value representable in nanoseconds.
    constexpr std::uint64_t milliseconds_max = 9'000'000'000'000;
    if (!part || *part > milliseconds_max || (total += *part) > milliseconds_max) {
      return std::nullopt;
    }
  }
  return std::chrono::milliseconds(total);
}

std::optional<Bytes> parse_bytes(std::string_view text) {
  const auto number = take_decimal(text);
  if (!number) return std::nullopt;
  constexpr std::uint64_t k = 1000;
  const auto factor = unit_factor(number->rest, {{"B", 1},
                                                 {"KiB", 1ull << 10},
                                                 {"MiB", 1ull << 20},
                                                 {"GiB", 1ull << 30},
                                                 {"TiB", 1ull << 40},
                                                 {"kB", k},
                                                 {"KB", k},
                                                 {"MB", k * k},
                                                 {"GB", k * k * k},
                                                 {"TB", k * k * k * k}});
  if (!factor) return std::nullopt;
  const auto value = scale_decimal(number->whole, number->fraction, *factor);
  // Kernel interfaces take signed 64-bit amounts.
  if (!value || *value > std::numeric_limits<std::int64_t>::max()) return std::nullopt;
  return Bytes{*value};
}

std::optional<MilliCpu> parse_cpu(std::string_view text) {
  const auto number = take_decimal(text);
  if (!number) return std::nullopt;
  const auto factor = unit_factor(number->rest, {{"", 1000}, {"m", 1}});
  if (!factor) return std::nullopt;
  const auto value = scale_decimal(number->whole, number->fraction, *factor);
  if (!value || *value > 100'000'000) return std::nullopt;
  return MilliCpu{static_cast<std::uint32_t>(*value)};
}

std::optional<Port> parse_port(std::string_view text) {
  const auto value = parse_number<Port>(text);
  return value && *value != 0 && text.front() != '0' ? value : std::nullopt;
}

std::optional<PortRange> parse_port_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_port(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return PortRange{*first, *last};
}

std::optional<Cidr> parse_cidr(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const unsigned bits = address->is_v6() ? 128 : 32;
  unsigned prefix = bits;
  if (slash != std::string_view::npos) {
    const auto given = parse_number<unsigned>(text.substr(slash + 1));
    if (!given || *given > bits) return std::nullopt;
    prefix = *given;
  }
  for (unsigned bit = prefix; bit < bits; ++bit) {
    if ((address->bytes[bit / 8] >> (7 - bit % 8)) & 1) return std::nullopt;
  }
  return Cidr{*address, prefix};
}

std::optional<SocketAddress> parse_socket_address(std::string_view text) {
  const auto parts = split_host(text);
  if (!parts) return std::nullopt;
  const auto ip = IpAddress::parse(parts->first);
  const auto port = parse_port(parts->second);
  if (!ip || !port || ip->is_v6() != text.starts_with('[')) return std::nullopt;
  return SocketAddress{*ip, *port};
}

std::optional<HostPort> parse_host_port(std::string_view text) {
  const auto parts = split_host(text);
  if (!parts) return std::nullopt;
  const auto port = parse_port(parts->second);
  const auto ip = IpAddress::parse(parts->first);
  if (!port || (text.starts_with('[') && !(ip && ip->is_v6()))) return std::nullopt;
  if (!is_host_name(parts->first)) return std::nullopt;
  return HostPort{std::string(parts->first), *port};
}

std::optional<UserRef> parse_user(std::string_view text) {
  if (text.empty()) return std::nullopt;
  UserRef user;
  if (!is_digit(text.front())) {
    if (!is_account_name(text)) return std::nullopt;
    user.name = text;
    return user;
  }
  const std::size_t colon = text.find(':');
  user.uid = parse_number<std::uint32_t>(text.substr(0, colon));
  if (!user.uid || *user.uid == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  if (colon != std::string_view::npos) {
    user.gid = parse_number<std::uint32_t>(text.substr(colon + 1));
    if (!user.gid || *user.gid == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  }
  return user;
}

std::optional<GroupRef> parse_group(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (is_digit(text.front())) {
    const auto gid = parse_number<std::uint32_t>(text);
    if (!gid || *gid == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    return GroupRef{"", gid};
  }
  if (!is_account_name(text)) return std::nullopt;
  return GroupRef{std::string(text), std::nullopt};
}

std::optional<FileMode> parse_file_mode(std::string_view text) {
  if (text.size() < 3 || text.size() > 4) return std::nullopt;
  const auto value = parse_number<std::uint32_t>(text, 8);
  if (!value) return std::nullopt;
  return FileMode{*value};
}

std::optional<Signal> parse_signal(std::string_view text) {
  if (text.starts_with("SIG")) text.remove_prefix(3);
  for (const NamedSignal& signal : kSignals) {
    if (signal.name == text) return Signal{signal.number};
  }
  if (text == "RTMIN") return Signal{SIGRTMIN};
  if (text == "RTMAX") return Signal{SIGRTMAX};
  if (!text.starts_with("RTMIN+")) return std::nullopt;
  const auto offset = parse_number<int>(text.substr(6));
  if (!offset || *offset > SIGRTMAX - SIGRTMIN) return std::nullopt;
  return Signal{SIGRTMIN + *offset};
}

std::string Signal::to_string() const {
  for (const NamedSignal& signal : kSignals) {
    if (signal.number == number) return "SIG" + std::string(signal.name);
  }
  return "SIGRTMIN+" + std::to_string(number - SIGRTMIN);
}

std::optional<Publish> parse_publish(std::string_view text) {
  Publish publish;
  if (text.ends_with("/udp")) publish.transport = Transport::Udp;
  if (text.ends_with("/udp") || text.ends_with("/tcp")) text.remove_suffix(4);
  std::string_view host = text;
  if (text.find(':') != std::string_view::npos) {
    const std::size_t colon = text.rfind(':');
    host = text.substr(0, colon);
    const auto target = parse_port_range(text.substr(colon + 1));
    if (!target) return std::nullopt;
    publish.target = *target;
  }
  if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos) {
    std::string_view address = host.substr(0, colon);
    const bool has_brackets = address.starts_with('[') && address.ends_with(']');
    if (has_brackets) address = address.substr(1, address.size() - 2);
    publish.address = IpAddress::parse(address);
    if (!publish.address || publish.address->is_v6() != has_brackets) return std::nullopt;
    host.remove_prefix(colon + 1);
  }
  const auto host_ports = parse_port_range(host);
  if (!host_ports) return std::nullopt;
  publish.host = *host_ports;
  if (publish.target.first == 0) publish.target = publish.host;
  if (publish.target.count() != publish.host.count()) return std::nullopt;
  return publish;
}

std::optional<Mount> parse_mount(std::string_view text) {
  Mount mount;
  if (text.ends_with(":ro") || text.ends_with(":rw")) {
    mount.is_explicit = true;
    mount.is_read_only = text.ends_with(":ro");
    text.remove_suffix(3);
  }
  if (!is_child_name(text)) return std::nullopt;
  mount.volume = text;
  return mount;
}

bool is_host_name(std::string_view text) {
  if (IpAddress::parse(text)) return true;
  if (text.empty() || text.size() > 253) return false;
  if (text.ends_with('.')) text.remove_suffix(1);
  // All digits and points that are no address is a mistyped address, not a name.
  bool has_letter = false;
  std::size_t label = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.') {
      if (label == 0 || text[i - 1] == '-') return false;
      label = 0;
      continue;
    }
    if (!is_letter(c) && !is_digit(c) && c != '_' && !(c == '-' && label != 0)) return false;
    has_letter = has_letter || is_letter(c);
    if (++label > 63) return false;
  }
  return label != 0 && text.back() != '-' && has_letter;
}

bool is_child_name(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
}

}  // namespace pillion::config
