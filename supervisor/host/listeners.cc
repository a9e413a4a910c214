#include "supervisor/host/listeners.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <sstream>
#include <variant>

#include <fmt/format.h>

#include "runtime/listeners.h"
#include "supervisor/host/namespaces.h"

namespace pillion::supervisor::host {
namespace {

using Plans = std::vector<ListenerPlan>;

constexpr std::uint16_t kFirstUserPort = 1024;

void add(Plans& plans, const std::string& child, std::string name,
         const config::SocketAddress& address) {
  ListenerPlan plan;
  plan.child = child;
  plan.name = std::move(name);
  plan.address = address.ip.to_string();
  plan.port = address.port;
  plans.push_back(std::move(plan));
}

// The same for IPv6, where capture may bring IPv6 connections.
void add_twin(Plans& plans, const std::string& child, std::string name,
              const config::SocketAddress& address) {
  if (address.ip.is_v6()) return;
  add(plans, child, std::move(name), address);
  plans.back().address = address.ip.is_loopback() ? "::1" : "::";
  plans.back().is_optional = true;
}

void add_admin(Plans& plans, const config::Child& child, const ServicePaths& paths,
               const config::ComponentAdmin& admin) {
  if (admin.listen) {
    add(plans, child.name, "admin", *admin.listen);
    return;
  }
  ListenerPlan plan;
  plan.child = child.name;
  plan.name = "admin";
  plan.unix_path = paths.admin_socket(child.name);
  if (child.user) plan.owner = child.user->uid;
  plans.push_back(std::move(plan));
}

void add_published(Plans& plans, const config::Service& service, const config::Child& child,
                   const config::ProxyConfig& proxy) {
  for (const config::PublishedListener& published : proxy.inbound.published) {
    // In mode "host" nothing is published, but the proxy may stand before the app all the same.
    const bool is_host = service.network.mode == config::NetworkMode::Host;
    if (is_host && published.listen) {
      add(plans, child.name, published.listener, *published.listen);
      plans.back().is_datagram = published.transport == config::Transport::Udp;
    }
    for (const config::Publish& publish : service.network.publish) {
      const unsigned count = publish.transport == config::Transport::Tcp ? publish.host.count() : 0;
      for (unsigned i = 0; i < count; ++i) {
        const auto port = static_cast<std::uint16_t>(publish.host.first + i);
        if (published.listener != fmt::format("publish-{}", port)) continue;
        ListenerPlan plan;
        plan.child = child.name;
        plan.name = published.listener;
        plan.address = publish.address ? publish.address->to_string() : "::";
        plan.is_dual_stack = !publish.address;
        plan.port = port;
        plan.is_inside = false;
        plans.push_back(std::move(plan));
      }
    }
  }
}

// UDP and TCP, IPv4 and IPv6. Sealed, every address is the namespace's own and port 53 is free:
// nothing needs to be led to 15053, and answers come from the address that was asked.
void add_dns(Plans& plans, const std::string& child, const config::SocketAddress& listen,
             bool is_sealed) {
  const config::SocketAddress address =
      is_sealed ? config::SocketAddress::of("0.0.0.0:53") : listen;
  for (const bool is_datagram : {true, false}) {
    const std::size_t first = plans.size();
    const std::string name = is_datagram ? "dns" : "dns-tcp";
    add(plans, child, name, address);
    add_twin(plans, child, name + "6", address);
    for (std::size_t i = first; i < plans.size(); ++i) {
      plans[i].is_datagram = is_datagram;
      plans[i].is_transparent = is_sealed;
    }
  }
}

void add_proxy(Plans& plans, const config::Service& service, const config::Child& child,
               const config::ProxyConfig& proxy) {
  const bool is_host = service.network.mode == config::NetworkMode::Host;
  const bool is_sealed = service.network.mode == config::NetworkMode::Sealed;
  // Nobody can connect into a sealed namespace: there is no inbound capture.
  if (!is_sealed && (!is_host || service.network.intercept.inbound)) {
    add(plans, child.name, "inbound", proxy.inbound.listen);
    add_twin(plans, child.name, "inbound6", proxy.inbound.listen);
    for (ListenerPlan& plan : plans) {
      const bool is_inbound = plan.name == "inbound" || plan.name == "inbound6";
      plan.prefers_transparent |=
          service.network.intercept.inbound && plan.child == child.name && is_inbound;
    }
  }
  if (!is_host || service.network.intercept.outbound) {
    add(plans, child.name, "outbound", proxy.outbound.listen);
    add_twin(plans, child.name, "outbound6", proxy.outbound.listen);
    for (ListenerPlan& plan : plans) {
      const bool is_outbound = plan.name == "outbound" || plan.name == "outbound6";
      plan.is_transparent |= is_sealed && plan.child == child.name && is_outbound;
    }
  }
  if (is_sealed || service.network.intercept.dns) {
    add_dns(plans, child.name, proxy.dns.listen, is_sealed);
  }
  add(plans, child.name, "health", proxy.health.listen);
  add(plans, child.name, "prometheus", proxy.prometheus.listen);
  add(plans, child.name, "admin", proxy.admin.listen);
  for (std::size_t i = 0; i < proxy.explicit_listeners.size(); ++i) {
    add(plans, child.name, fmt::format("explicit-{}", i), proxy.explicit_listeners[i].listen);
    plans.back().is_datagram = proxy.explicit_listeners[i].transport == config::Transport::Udp;
  }
  add_published(plans, service, child, proxy);
}

void add_metrics(Plans& plans, const config::Child& child, const ServicePaths& paths,
                 const config::MetricsConfig& metrics) {
  add(plans, child.name, "metrics", metrics.listen);
  for (std::size_t i = 0; i < metrics.inputs.size(); ++i) {
    const auto& statsd = metrics.inputs[i].statsd;
    if (statsd && statsd->udp) {
      add(plans, child.name, fmt::format("statsd-{}", i), *statsd->udp);
      plans.back().is_datagram = true;
    }
    if (statsd && statsd->tcp)
      add(plans, child.name, fmt::format("statsd-tcp-{}", i), *statsd->tcp);
  }
  add_admin(plans, child, paths, metrics.admin);
}

// The inode of the socket that has `port`, from /proc/net/{tcp,udp}{,6}: proc(5), state 0A
// (listening) of TCP, 07 (not connected) of UDP.
std::string find_listening_inode(const char* file, std::uint16_t port, std::string_view wanted) {
  auto text = read_file(file);
  if (!text) return {};
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >>
        inode;
    const auto colon = local.rfind(':');
    if (state != wanted || colon == std::string::npos) continue;
    unsigned number = 0;
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), number, 16);
    if (number == port) return inode;
  }
  return {};
}

bool has_socket(const std::string& pid, const std::string& inode) {
  const std::string directory = "/proc/" + pid + "/fd";
  DIR* fds = ::opendir(directory.c_str());
  if (fds == nullptr) return false;
  const std::string wanted = "socket:[" + inode + "]";
  bool is_found = false;
  while (const dirent* item = ::readdir(fds)) {
    char target[64];
    const ssize_t length =
        ::readlink((directory + "/" + item->d_name).c_str(), target, sizeof target);
    is_found = length > 0 && wanted == std::string_view(target, static_cast<std::size_t>(length));
    if (is_found) break;
  }
  ::closedir(fds);
  return is_found;
}

Result<Fd> listen(const ListenerPlan& plan) {
  if (!plan.unix_path.empty()) {
    auto socket = listen_unix(plan.unix_path, 0660);
    if (socket && plan.owner && ::geteuid() == 0 &&
        ::chown(plan.unix_path.c_str(), *plan.owner, 0) < 0) {
      return fail_errno("cannot chown " + plan.unix_path);
    }
    return socket;
  }
  ListenOptions options;
  options.is_ipv6_only = !plan.is_dual_stack;
  if (plan.prefers_transparent) {
    options.is_transparent = true;
    auto transparent = listen_tcp(plan.address, plan.port, options);
    if (transparent || transparent.error().errno_value() != EPERM) return transparent;
    options.is_transparent = false;
  }
  options.is_transparent = plan.is_transparent;
  if (plan.is_datagram) return bind_udp(plan.address, plan.port, options);
  auto socket = listen_tcp(plan.address, plan.port, options);
  const bool has_no_ipv6 =
      !socket && plan.is_dual_stack && socket.error().errno_value() == EAFNOSUPPORT;
  return has_no_ipv6 ? listen_tcp("0.0.0.0", plan.port) : std::move(socket);
}

}  // namespace

std::vector<ListenerPlan> plan_listeners(const config::Service& service,
                                         const ServicePaths& paths) {
  Plans plans;
  for (const config::Child& child : service.children) {
    if (const auto* proxy = std::get_if<config::ProxyConfig>(&child.config)) {
      add_proxy(plans, service, child, *proxy);
    } else if (const auto* secrets = std::get_if<config::SecretsConfig>(&child.config)) {
      if (secrets->vault && secrets->proxy.enabled) {
        add(plans, child.name, "vault", secrets->proxy.listen);
      }
      add_admin(plans, child, paths, secrets->admin);
    } else if (const auto* logs = std::get_if<config::LogsConfig>(&child.config)) {
      add_admin(plans, child, paths, logs->admin);
    } else if (const auto* egress = std::get_if<config::EgressConfig>(&child.config)) {
      add(plans, child.name, "egress", egress->listen);
      add_admin(plans, child, paths, egress->admin);
    } else if (const auto* metrics = std::get_if<config::MetricsConfig>(&child.config)) {
      add_metrics(plans, child, paths, *metrics);
    }
  }
  return plans;
}

std::string find_port_holder(std::uint16_t port, bool is_datagram) {
  const std::string_view state = is_datagram ? "07" : "0A";
  std::string inode =
      find_listening_inode(is_datagram ? "/proc/net/udp" : "/proc/net/tcp", port, state);
  if (inode.empty()) {
    inode = find_listening_inode(is_datagram ? "/proc/net/udp6" : "/proc/net/tcp6", port, state);
  }
  if (inode.empty()) return {};
  DIR* processes = ::opendir("/proc");
  if (processes == nullptr) return {};
  std::string holder;
  while (const dirent* item = ::readdir(processes)) {
    const std::string pid = item->d_name;
    if (pid.find_first_not_of("0123456789") != std::string::npos || !has_socket(pid, inode))
      continue;
    auto name = read_file("/proc/" + pid + "/comm");
    if (name && !name->empty()) name->pop_back();
    holder = fmt::format("pid {} ({})", pid, name ? *name : "unknown");
    break;
  }
  ::closedir(processes);
  return holder;
}

Result<Fd> open_listener(const ListenerPlan& plan, int network_namespace) {
  auto socket = make_inside(plan.is_inside ? network_namespace : -1, [&] { return listen(plan); });
  if (socket) return socket;
  std::string message = socket.error().message();
  const bool is_own_namespace = !plan.is_inside || network_namespace < 0;
  if (socket.error().errno_value() == EADDRINUSE && is_own_namespace) {
    const std::string holder = find_port_holder(plan.port, plan.is_datagram);
    if (!holder.empty()) message += ", by " + holder;
  }
  if (socket.error().errno_value() == EACCES && plan.port < kFirstUserPort) {
    message += fmt::format(
        "; without root publish a port from {} on, or have root lower the sysctl "
        "net.ipv4.ip_unprivileged_port_start",
        kFirstUserPort);
  }
  return fail(Error(fmt::format("{} (listener \"{}\" of {})", message, plan.name, plan.child),
                    socket.error().errno_value()));
}

}  // namespace pillion::supervisor::host
