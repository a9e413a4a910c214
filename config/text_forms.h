// The values that the file writes as one string: what they are called, what is legal, and both
// directions. `pattern` is for editors only; the parse function decides.
#pragma once

#include <chrono>
#include <string>

#include "config/codec.h"
#include "config/parse_units.h"
#include "config/units.h"

namespace pillion::config {

template<class T>
struct AnyValue {
  static bool is_allowed(const T&, const Rules&) { return true; }
  static std::string range(const Rules&) { return ""; }
};

// Rules::min and max count milliseconds.
template<>
struct TextForm<std::chrono::milliseconds> {
  static constexpr std::string_view name = "duration";
  static constexpr std::string_view legal =
      "a duration with its unit, such as \"500ms\", \"10s\", \"5m\" or \"1h30m\"";
  static constexpr std::string_view pattern = "^(0|([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+)$";
  static auto parse(std::string_view text) { return parse_duration(text); }
  static std::string write(std::chrono::milliseconds value) { return to_string(value); }
  static bool is_allowed(std::chrono::milliseconds value, const Rules& rules) {
    const auto count = static_cast<double>(value.count());
    return rules.min <= count && count <= rules.max;
  }
  static std::string range(const Rules& rules) {
    const auto text = [](double count) {
      return to_string(std::chrono::milliseconds(static_cast<std::int64_t>(count)));
    };
    if (std::isinf(rules.max)) return "at least " + text(rules.min);
    return "from " + text(rules.min) + " to " + text(rules.max);
  }
};

// Rules::min and max count bytes.
template<>
struct TextForm<Bytes> {
  static constexpr std::string_view name = "size";
  static constexpr std::string_view legal =
      "a size with its unit, such as \"64KiB\", \"256MiB\" or \"1GB\"";
  static constexpr std::string_view pattern =
      "^[0-9]+(\\.[0-9]+)?(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)$";
  static auto parse(std::string_view text) { return parse_bytes(text); }
  static std::string write(Bytes value) { return to_string(value); }
  static bool is_allowed(Bytes value, const Rules& rules) {
    const auto count = static_cast<double>(value.value);
    return rules.min <= count && count <= rules.max;
  }
  static std::string range(const Rules& rules) {
    const auto text = [](double count) {
      return to_string(Bytes{static_cast<std::uint64_t>(count)});
    };
    if (std::isinf(rules.max)) return "at least " + text(rules.min);
    return "from " + text(rules.min) + " to " + text(rules.max);
  }
};

// Rules::min counts thousandths.
template<>
struct TextForm<MilliCpu> {
  static constexpr std::string_view name = "CPU quantity";
  static constexpr std::string_view legal =
      "a number of CPUs as text, such as \"0.5\", \"250m\" or \"2\"";
  static constexpr std::string_view pattern = "^[0-9]+(\\.[0-9]+)?m?$";
  static auto parse(std::string_view text) { return parse_cpu(text); }
  static std::string write(MilliCpu value) { return to_string(value); }
  static bool is_allowed(MilliCpu value, const Rules& rules) { return value.value >= rules.min; }
  static std::string range(const Rules& rules) {
    return "at least " + to_string(MilliCpu{static_cast<std::uint32_t>(rules.min)});
  }
};

template<>
struct TextForm<IpAddress> : AnyValue<IpAddress> {
  static constexpr std::string_view name = "address";
  static constexpr std::string_view legal =
      "a numeric IPv4 or IPv6 address, such as \"127.0.0.1\" or \"::1\"";
  static constexpr std::string_view pattern = "^[0-9a-fA-F:.]+$";
  static auto parse(std::string_view text) { return IpAddress::parse(text); }
  static std::string write(const IpAddress& value) { return value.to_string(); }
};

template<>
struct TextForm<Cidr> : AnyValue<Cidr> {
  static constexpr std::string_view name = "network";
  static constexpr std::string_view legal =
      "a network such as \"10.0.0.0/8\" or \"fd00::/8\", without bits beyond the prefix";
  static constexpr std::string_view pattern = "^[0-9a-fA-F:.]+(/[0-9]+)?$";
  static auto parse(std::string_view text) { return parse_cidr(text); }
  static std::string write(const Cidr& value) { return value.to_string(); }
};

template<>
struct TextForm<SocketAddress> : AnyValue<SocketAddress> {
  static constexpr std::string_view name = "listen address";
  static constexpr std::string_view legal =
      "a numeric address and port, such as \"127.0.0.1:7000\" or \"[::]:15021\"";
  static constexpr std::string_view pattern = "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]+$";
  static auto parse(std::string_view text) { return parse_socket_address(text); }
  static std::string write(const SocketAddress& value) { return value.to_string(); }
};

template<>
struct TextForm<HostPort> : AnyValue<HostPort> {
  static constexpr std::string_view name = "host and port";
  static constexpr std::string_view legal =
      "a host and port, such as \"users.internal:8443\" or \"[2001:db8::1]:443\"";
  static constexpr std::string_view pattern = "^.+:[0-9]+$";
  static auto parse(std::string_view text) { return parse_host_port(text); }
  static std::string write(const HostPort& value) { return value.to_string(); }
};

template<>
struct TextForm<FileMode> : AnyValue<FileMode> {
  static constexpr std::string_view name = "file mode";
  static constexpr std::string_view legal = "octal permission bits as text, such as \"0400\"";
  static constexpr std::string_view pattern = "^[0-7]{3,4}$";
  static auto parse(std::string_view text) { return parse_file_mode(text); }
  static std::string write(FileMode value) { return to_string(value); }
};

template<>
struct TextForm<Signal> : AnyValue<Signal> {
  static constexpr std::string_view name = "signal";
  static constexpr std::string_view legal =
      "a signal's name, such as \"SIGTERM\" or \"SIGRTMIN+3\"";
  static constexpr std::string_view pattern = "^(SIG)?[A-Z0-9]+(\\+[0-9]+)?$";
  static auto parse(std::string_view text) { return parse_signal(text); }
  static std::string write(Signal value) { return value.to_string(); }
};

template<>
struct TextForm<Publish> : AnyValue<Publish> {
  static constexpr std::string_view name = "published port";
  static constexpr std::string_view legal =
      "[ADDRESS:]HOST[:APP][/udp], such as \"8080\", \"127.0.0.1:8080:80\", "
      "\"8000-8010:9000-9010\", \"[::1]:8080:80\" or \"53:53/udp\"";
  static constexpr std::string_view pattern =
      "^((([0-9.]+|\\[[0-9a-fA-F:.]+\\]):)?[0-9]+(-[0-9]+)?:)?[0-9]+(-[0-9]+)?(/(tcp|udp))?$";
  static auto parse(std::string_view text) { return parse_publish(text); }
  static std::string write(const Publish& value) { return value.to_string(); }
};

template<>
struct TextForm<Mount> : AnyValue<Mount> {
  static constexpr std::string_view name = "mount";
  static constexpr std::string_view legal =
      "the name of a volume, with \":ro\" or \":rw\" if you like";
  static constexpr std::string_view pattern = "^[a-z0-9-]+(:ro|:rw)?$";
  static auto parse(std::string_view text) { return parse_mount(text); }
  static std::string write(const Mount& value) {
    return value.volume + (value.is_read_only ? ":ro" : ":rw");
  }
};

}  // namespace pillion::config
