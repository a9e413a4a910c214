#include "netns/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "netns/rules.h"

namespace pillion::netns {
namespace {

constexpr std::size_t kCloseWaitMax = 50;
constexpr std::uint64_t kInvalidPacketsMax = 20;  // a few are left of every restart
constexpr std::uint64_t kCloseWaitSeconds = 3600;

template<class Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::uint64_t number_at(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// "… counter packets 12 bytes 720 …" of nft, "[12:720] -A …" of iptables-save -c.
std::uint64_t packets_of(std::string_view line) {
  if (line.starts_with("[")) return number_at(line.substr(1));
  constexpr std::string_view kMark = "counter packets ";
  const std::size_t at = line.find(kMark);
  return at == line.npos ? 0 : number_at(line.substr(at + kMark.size()));
}

bool ends_with_word(std::string_view line, const std::string& words) {
  const std::size_t at = line.find(words);
  if (at == line.npos) return false;
  const std::size_t end = at + words.size();
  return end == line.size() || line[end] == ' ';
}

std::string fingerprint_in(std::string_view rules) {
  constexpr std::string_view kMark = "comment \"pillion ";
  const std::size_t at = rules.find(kMark);
  return at == rules.npos ? "" : std::string(rules.substr(at + kMark.size(), 8));
}

class Diagnosis {
 public:
  explicit Diagnosis(const View& view) : view_(view), intercept_(view.wanted.intercept) {}

  std::vector<Finding> run() {
    judge_namespace();
    if (!view_.namespace_problem.empty()) return std::move(findings_);
    judge_interfaces();
    judge_forwarding();
    judge_kernel();
    if (wants_capture()) {
      judge_rules();
      judge_listener("proxy-outbound", intercept_.outbound, intercept_.outbound_port);
      judge_listener("proxy-inbound", captures_inbound(intercept_) && !is_sealed(),
                     intercept_.inbound_port);
      judge_connections();
      judge_owners();
    }
    judge_dns();
    judge_conntrack();
    judge_packets();
    judge_half_open();
    return std::move(findings_);
  }

  std::vector<Finding> run_for_parts(bool with_capture) {
    judge_namespace();
    if (!view_.namespace_problem.empty()) return std::move(findings_);
    judge_interfaces();
    judge_forwarding();
    if (with_capture) judge_rules();
    return std::move(findings_);
  }

 private:
  void add(std::string check, Verdict verdict, std::string found, std::string remedy = "") {
    findings_.push_back({std::move(check), verdict, std::move(found), std::move(remedy)});
  }
  bool is_sealed() const { return view_.wanted.mode == Mode::Sealed; }
  bool is_bridged() const { return view_.wanted.mode == Mode::Bridged; }
  bool has_rules() const { return !view_.capture_rules.empty(); }
  bool wants_capture() const {
    return captures_inbound(intercept_) || intercept_.outbound || intercept_.dns;
  }
  // What to run to have the rules (again).
  std::string capture_command() const {
    const bool is_pod = view_.wanted.mode == Mode::Host || view_.wanted.mode == Mode::Join;
    return is_pod ? "pillion-netns capture with the same input (in a Pod: the init container)"
                  : fmt::format("restart the service: pillion stop {}", view_.wanted.service);
  }

  void judge_namespace() {
    if (view_.namespace_problem.empty()) {
      return add("namespace", Verdict::Ok,
                 fmt::format("the network of {} ({}) is there", view_.wanted.service,
                             mode_text(view_.wanted.mode)));
    }
    add("namespace", Verdict::Problem, view_.namespace_problem,
        "start the service; as root, if it runs");
  }

  void judge_interfaces() {
    if (!is_bridged()) return;
    const std::string host_end = names_of(view_.wanted.service).host_interface;
    const std::string remedy =
        "the veth pair was changed by hand or by a network manager: restart the service, and tell "
        "the manager to leave interfaces named pil* alone";
    if (!view_.has_host_interface) {
      add("interfaces", Verdict::Problem,
          fmt::format("the host's end {} is missing, down or without an address", host_end),
          remedy);
    }
    if (!view_.has_inner_interface) {
      add("interfaces", Verdict::Problem, "eth0 is missing, down or without an address inside",
          remedy);
    }
    if (view_.has_host_interface && view_.has_inner_interface) {
      add("interfaces", Verdict::Ok,
          fmt::format("{} and eth0 are up and have their addresses", host_end));
    }
    if (view_.host_rules.empty()) {
      add("host-rules", Verdict::Problem,
          fmt::format("the host's table inet {} is missing: nothing leaves the service's network",
                      names_of(view_.wanted.service).host_table),
          "a firewall reload with `flush ruleset` removes all tables: restart the service, and let "
          "the firewall delete its own tables only");
    } else {
      add("host-rules", Verdict::Ok, "the host's table for the service is loaded");
    }
  }

  void judge_forwarding() {
    if (!is_bridged()) return;
    if (!view_.is_forwarding4) {
      add("forwarding", Verdict::Problem,
          "net.ipv4.ip_forward is 0: the host drops the service's packets",
          "sysctl -w net.ipv4.ip_forward=1, and look for who switched it off (/etc/sysctl.d)");
    } else if (view_.warnings.empty()) {
      add("forwarding", Verdict::Ok,
          "the host forwards packets, and no firewall is seen to drop them");
    }
    for (const std::string& warning : view_.warnings) {
      const std::size_t semicolon = warning.find("; ");
      add("forwarding", Verdict::Warning, warning.substr(0, semicolon),
          semicolon == warning.npos ? "" : warning.substr(semicolon + 2));
    }
  }

  void judge_kernel() {
    if (view_.nftables_problem.empty()) return add("kernel", Verdict::Ok, "nftables works here");
    if (has_rules()) {
      return add("kernel", Verdict::Ok, "no nftables here; iptables is in use instead");
    }
    add("kernel", Verdict::Warning, "nftables: " + view_.nftables_problem,
        "run as root (CAP_NET_ADMIN); on a kernel without nf_tables install iptables");
  }

  void judge_rules() {
    if (!has_rules()) {
      return add("rules", Verdict::Problem,
                 "there are no capture rules: every connection goes past the proxy, or set-up has "
                 "not finished",
                 "look at `pillion status` and the proxy's readiness; else " + capture_command());
    }
    const std::string found = fingerprint_in(view_.capture_rules);
    const std::string wanted = fingerprint_in(view_.expected_rules);
    const std::size_t found_rules = count_rules(view_.capture_rules);
    const std::size_t wanted_rules = count_rules(view_.expected_rules);
    if (!found.empty() && !wanted.empty() && found != wanted) {
      return add("rules", Verdict::Warning,
                 "the capture rules were made from another configuration than the present one",
                 capture_command());
    }
    if (wanted_rules != 0 && found_rules != wanted_rules) {
      return add(
          "rules", Verdict::Problem,
          fmt::format("{} capture rules are loaded where there should be {}: somebody changed "
                      "them",
                      found_rules, wanted_rules),
          capture_command());
    }
    add("rules", Verdict::Ok, fmt::format("{} capture rules are loaded", found_rules));
  }

  std::vector<TcpSocket> listeners_on(std::uint16_t port) const {
    std::vector<TcpSocket> found;
    if (!view_.sockets) return found;
    std::copy_if(view_.sockets->begin(), view_.sockets->end(), std::back_inserter(found),
                 [&](const TcpSocket& socket) {
                   return socket.state == kTcpListen && socket.local_port == port;
                 });
    return found;
  }

  void judge_listener(const std::string& check, bool is_wanted, std::uint16_t port) {
    if (!is_wanted) return;
    if (!view_.sockets) {
      return add(check, Verdict::Unknown, "the namespace's sockets could not be listed");
    }
    const auto listeners = listeners_on(port);
    if (listeners.empty()) {
      return add(check, Verdict::Problem,
                 fmt::format("nobody listens on port {}: captured connections are refused", port),
                 "start the proxy, or look why it does not run: pillion status, pillion logs");
    }
    for (const TcpSocket& socket : listeners) {
      if (socket.send_queue != 0 && socket.receive_queue >= socket.send_queue) {
        return add(check, Verdict::Problem,
                   fmt::format("{} connections wait on port {} and nobody accepts them",
                               socket.receive_queue, port),
                   "the proxy hangs or is stopped: pillion status; restart it");
      }
    }
    if (check == "proxy-inbound" && !is_transparent_enough(listeners)) {
      return add(
          check, Verdict::Problem,
          fmt::format("the rules use TPROXY, but the listener on port {} is not transparent", port),
          "set IP_TRANSPARENT on it, or [network.intercept] inbound_method = \"redirect\"");
    }
    add(check, Verdict::Ok, fmt::format("port {} is listened on", port));
  }

  bool is_transparent_enough(const std::vector<TcpSocket>& listeners) const {
    const bool uses_tproxy = view_.capture_rules.find("tproxy") != std::string::npos ||
                             view_.capture_rules.find("TPROXY") != std::string::npos;
    return !uses_tproxy ||
           std::all_of(listeners.begin(), listeners.end(), [](const TcpSocket& socket) {
             return socket.is_transparent.value_or(true);
           });
  }

  void judge_connections() {
    if (!intercept_.outbound || !has_rules()) return;
    if (!view_.connection_problem.empty()) {
      return add("capture", Verdict::Unknown, view_.connection_problem);
    }
    for (const TrialConnection& trial : view_.connections) {
      const std::string_view family = trial.family == Family::V4 ? "IPv4" : "IPv6";
      if (!trial.has_route) continue;
      if (trial.packets_after == trial.packets_before) {
        add("capture", Verdict::Problem,
            fmt::format("a trial connection over {} was not captured: the counters did not move",
                        family),
            "another program's rules take the connection first (nft list ruleset), or the rules "
            "exclude it (exclude_outbound_*, include_outbound_*)");
      } else if (!trial.is_accepted) {
        add("capture", Verdict::Problem,
            fmt::format("a trial connection over {} was captured, and refused", family),
            fmt::format("nobody accepts on 127.0.0.1:{0} or [::1]:{0}: the proxy must listen on "
                        "both",
                        intercept_.outbound_port));
      } else {
        add("capture", Verdict::Ok,
            fmt::format("a trial connection over {} was captured, and the proxy took it", family));
      }
    }
  }

  bool is_exempt(std::uint32_t uid) const {
    return uid == intercept_.proxy_uid ||
           std::find(intercept_.exempt_uids.begin(), intercept_.exempt_uids.end(), uid) !=
               intercept_.exempt_uids.end();
  }

  void judge_owners() {
    for (const std::uint32_t uid : view_.app_uids) {
      if (!is_sealed() && is_exempt(uid)) add_helper_user("the app", uid);
    }
    if (!view_.sockets) return;
    for (const std::uint16_t port : captured_inbound_ports(intercept_)) {
      const auto listeners = listeners_on(port);
      if (listeners.empty()) {
        add("app", Verdict::Warning, fmt::format("nobody listens on the app's port {}", port),
            "the app has not started to listen yet, or listens on another port than [app] ports "
            "says");
        continue;
      }
      const auto owner = std::find_if(listeners.begin(), listeners.end(),
                                      [&](const auto& socket) { return is_exempt(socket.uid); });
      if (!is_sealed() && owner != listeners.end()) {
        add_helper_user(fmt::format("the app on port {}", port), owner->uid);
      } else {
        add("app", Verdict::Ok,
            fmt::format("the app listens on port {}, as uid {}", port, listeners.front().uid));
      }
    }
  }

  void add_helper_user(const std::string& who, std::uint32_t uid) {
    add("app", Verdict::Problem,
        fmt::format("{} runs as uid {}, which belongs to a helper: its connections are not "
                    "captured",
                    who, uid),
        "give the app a user of its own ([app] user; in a Pod: runAsUser)");
  }

  void judge_dns() {
    for (const TrialQuery& query : view_.queries) {
      if (query.is_answered) {
        add("dns", Verdict::Ok, fmt::format("the name server {} answers", query.server));
      } else {
        add("dns", Verdict::Problem,
            fmt::format("the name server {} does not answer", query.server),
            "set [network.dns] nameservers to one that can be reached from inside, or look at the "
            "host's firewall (UDP port 53)");
      }
    }
    if (view_.queries.empty()) {
      add("dns", Verdict::Warning, "resolv.conf names no name server",
          "set [network.dns] nameservers");
    }
  }

  void judge_conntrack() {
    if (view_.conntrack_max == 0) {
      return add("conntrack", Verdict::Ok, "connection tracking is not in use here");
    }
    const std::uint64_t percent = view_.conntrack_count * 100 / view_.conntrack_max;
    const std::string found = fmt::format("{} of {} connections are tracked ({} %)",
                                          view_.conntrack_count, view_.conntrack_max, percent);
    const std::string remedy =
        "raise net.netfilter.nf_conntrack_max on the host, or look for who opens so many "
        "connections (conntrack -L)";
    if (view_.conntrack_dropped > 0 && percent >= 50) {
      add("conntrack", Verdict::Problem,
          found + fmt::format("; {} packets were dropped because the table was full",
                              view_.conntrack_dropped),
          remedy);
    } else if (percent >= 80) {
      add("conntrack", percent >= 95 ? Verdict::Problem : Verdict::Warning, found, remedy);
    } else {
      add("conntrack", Verdict::Ok, found);
    }
  }

  void judge_packets() {
    const std::uint64_t dropped = invalid_packets(view_.capture_rules);
    if (dropped > kInvalidPacketsMax) {
      add("invalid", Verdict::Warning,
          fmt::format("{} packets were dropped that belong to no connection or lie outside its "
                      "window",
                      dropped),
          "look for packets that take another way back (asymmetric routes), for connections that "
          "outlived a restart, and for segmentation offload that lies about checksums (ethtool "
          "-K)");
    } else if (has_rules() && !is_sealed()) {
      add("invalid", Verdict::Ok, fmt::format("{} invalid packets were dropped", dropped));
    }
    if (view_.rewritten_clients > 0) {
      add("source-ports", Verdict::Warning,
          fmt::format("{} connections arrived with another client port than the client's, which "
                      "uses one port for several ports of the service at once: logs name a wrong "
                      "port",
                      view_.rewritten_clients),
          "use inbound_method = \"tproxy\" (or \"auto\" with a transparent listener), which "
          "translates nothing");
    }
  }

  void judge_half_open() {
    if (view_.close_wait_seconds != 0 && view_.close_wait_seconds < kCloseWaitSeconds &&
        has_rules() && !is_sealed()) {
      add("half-open", Verdict::Warning,
          fmt::format(
              "translations of half-closed connections are forgotten after {} s; what their "
              "other side sends later is lost",
              view_.close_wait_seconds),
          "sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600 inside");
    }
    if (!view_.sockets) return;
    const auto waiting =
        std::count_if(view_.sockets->begin(), view_.sockets->end(),
                      [](const TcpSocket& socket) { return socket.state == kTcpCloseWait; });
    if (static_cast<std::size_t>(waiting) > kCloseWaitMax) {
      add("half-open", Verdict::Warning,
          fmt::format("{} connections are half closed (CLOSE_WAIT): a program here does not close "
                      "what its peers have closed",
                      waiting),
          "find it with: ss -tnp state close-wait");
    } else {
      add("half-open", Verdict::Ok, fmt::format("{} connections are half closed", waiting));
    }
  }

  const View& view_;
  const Intercept& intercept_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> diagnose(const View& view) { return Diagnosis(view).run(); }

std::vector<Finding> diagnose_parts(const View& view, bool with_capture) {
  return Diagnosis(view).run_for_parts(with_capture);
}

std::uint64_t packets_to_port(const std::string& rules, std::uint16_t port) {
  std::uint64_t packets = 0;
  for_each_line(rules, [&](std::string_view line) {
    // nft: "redirect to :15001", "tproxy ip to 127.0.0.1:15001"; iptables: "--to-ports 15001".
    if (ends_with_word(line, fmt::format(":{}", port)) ||
        ends_with_word(line, fmt::format("--to-ports {}", port))) {
      packets += packets_of(line);
    }
  });
  return packets;
}

std::uint64_t invalid_packets(const std::string& rules) {
  std::uint64_t packets = 0;
  for_each_line(rules, [&](std::string_view line) {
    const bool is_nft = line.find("ct state invalid") != line.npos;
    if (is_nft || line.find("--ctstate INVALID") != line.npos) packets += packets_of(line);
  });
  return packets;
}

std::size_t count_rules(const std::string& rules) {
  std::size_t count = 0;
  for_each_line(rules, [&](std::string_view line) {
    if (line.starts_with("[")) line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
    if (line.find("counter") != line.npos || line.starts_with("-A PIL")) ++count;
  });
  return count;
}

std::vector<Finding> diagnose_leftovers(const std::vector<Leftover>& leftovers) {
  std::vector<Finding> findings;
  for (const Leftover& item : leftovers) {
    findings.push_back(
        {"leftovers", Verdict::Warning,
         fmt::format("{} is left of the service {}, which does not run", item.what, item.service),
         "pillion-netns remove " + item.service});
  }
  if (leftovers.empty()) {
    findings.push_back(
        {"leftovers", Verdict::Ok, "nothing is left of services that do not run", ""});
  }
  return findings;
}

}  // namespace pillion::netns
