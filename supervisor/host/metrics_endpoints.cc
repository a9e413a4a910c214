#include "supervisor/host/metrics_endpoints.h"

#include <variant>

namespace pillion::supervisor::host {
namespace {

MetricsEndpoint at_address(const config::SocketAddress& listen, int network_namespace) {
  MetricsEndpoint endpoint;
  endpoint.address = listen.ip;
  // What listens everywhere listens on loopback too.
  if (listen.ip == *config::IpAddress::parse("0.0.0.0")) {
    endpoint.address = *config::IpAddress::parse("127.0.0.1");
  }
  if (listen.ip == *config::IpAddress::parse("::")) {
    endpoint.address = *config::IpAddress::parse("::1");
  }
  endpoint.port = listen.port;
  endpoint.network_namespace = network_namespace;
  return endpoint;
}

MetricsEndpoint at_admin(const config::Child& child, const ServicePaths& paths,
                         const config::ComponentAdmin& admin, int network_namespace) {
  if (admin.listen) return at_address(*admin.listen, network_namespace);
  MetricsEndpoint endpoint;
  endpoint.unix_path = paths.admin_socket(child.name);
  return endpoint;
}

MetricsEndpoint at_scrape(const config::Scrape& scrape, int network_namespace) {
  MetricsEndpoint endpoint;
  endpoint.address = scrape.address.value_or(*config::IpAddress::parse("127.0.0.1"));
  endpoint.port = scrape.port ? scrape.port->number : config::Port{0};
  endpoint.path = scrape.path;
  endpoint.network_namespace = network_namespace;
  return endpoint;
}

}  // namespace

std::optional<ChildEndpoint> metrics_endpoint_of(const config::Child& child,
                                                 const ServicePaths& paths,
                                                 const ServiceSetup& setup) {
  // Listeners that the supervisor opens are inside, also those of a sealed service's helpers.
  const int inside = setup.network_namespace();
  const int own = setup.network_namespace_of(child);
  const auto of = [&](MetricsEndpoint endpoint) {
    return ChildEndpoint{child.name, std::move(endpoint), false};
  };
  if (child.scrape) return of(at_scrape(*child.scrape, own));
  if (const auto* proxy = std::get_if<config::ProxyConfig>(&child.config)) {
    return of(at_address(proxy->prometheus.listen, inside));
  }
  if (const auto* logs = std::get_if<config::LogsConfig>(&child.config)) {
    return of(at_admin(child, paths, logs->admin, inside));
  }
  if (const auto* secrets = std::get_if<config::SecretsConfig>(&child.config)) {
    return of(at_admin(child, paths, secrets->admin, inside));
  }
  if (const auto* egress = std::get_if<config::EgressConfig>(&child.config)) {
    return of(at_admin(child, paths, egress->admin, inside));
  }
  if (const auto* metrics = std::get_if<config::MetricsConfig>(&child.config)) {
    return of(at_address(metrics->listen, inside));
  }
  return std::nullopt;
}

}  // namespace pillion::supervisor::host
