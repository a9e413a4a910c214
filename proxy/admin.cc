#include "proxy/admin.h"

#include <fmt/format.h>
#include <pthread.h>

#include <future>

#include "config/render.h"
#include "proxy/server.h"
#include "runtime/json_text.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

constexpr std::chrono::seconds kWorkerAnswer{2};

std::string_view state_name(const ServerStatus& status) {
  if (!status.is_started) return "PRE_INITIALIZING";
  if (status.is_draining) return "DRAINING";
  return status.is_health_failed ? "FAILING" : "LIVE";
}

HttpServerResponse readiness(const ServerStatus& status) {
  return HttpServerResponse::text(status.is_ready() ? 200 : 503,
                                  fmt::format("{}\n", state_name(status)));
}

std::string server_info(const Server& server) {
  const SnapshotPointer snapshot = server.snapshot();
  const auto uptime =
      std::chrono::duration_cast<std::chrono::seconds>(SystemClock().now() - server.started_at());
  std::string out =
      fmt::format("{{\"state\":\"{}\",\"version\":\"{}\",\"service\":", state_name(server.status()),
                  PILLION_VERSION);
  append_json_string(out, snapshot->config().service);
  out += fmt::format(
      ",\"uptime_seconds\":{},\"workers\":{},\"reloads_accepted\":{},"
      "\"reloads_rejected\":{},\"listeners\":[",
      uptime.count(), server.workers().size(), server.status().reloads_accepted.load(),
      server.status().reloads_rejected.load());
  bool is_first = true;
  for (const std::string& name : server.listener_names()) {
    if (!is_first) out += ',';
    is_first = false;
    append_json_string(out, name);
  }
  return out + "]}\n";
}

// Runs on the worker's thread.
std::string describe_clusters(const Worker& worker, std::size_t number) {
  std::string out;
  const auto routes = worker.routes();
  if (!routes) return out;
  for (const auto& cluster : routes->clusters) {
    for (const auto& endpoint : cluster->endpoints()) {
      const std::string prefix =
          fmt::format("{}::{}::worker{}", cluster->config().name, endpoint->text(), number);
      out += fmt::format("{}::cx_active::{}\n{}::cx_idle::{}\n", prefix, endpoint->active(), prefix,
                         endpoint->idle());
    }
    if (!cluster->has_endpoints()) out += fmt::format("{}::no addresses\n", cluster->config().name);
    out += fmt::format("{}::worker{}::rq_active::{}\n", cluster->config().name, number,
                       cluster->active_requests);
  }
  return out;
}

std::string clusters(const Server& server) {
  std::string out;
  std::size_t number = 0;
  for (const auto& worker : server.workers()) {
    // Shared with the task: the answer may come after we gave up waiting.
    auto answer = std::make_shared<std::promise<std::string>>();
    auto future = answer->get_future();
    worker->post([answer, one = worker.get(), number] {
      answer->set_value(describe_clusters(*one, number));
    });
    out += future.wait_for(kWorkerAnswer) == std::future_status::ready
               ? future.get()
               : fmt::format("worker{}::no answer within 2 s\n", number);
    ++number;
  }
  return out;
}

void append_names(std::string& out, std::string_view key, const std::vector<std::string>& names) {
  out.append(",\"").append(key).append("\":[");
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, names[i]);
  }
  out += ']';
}

// Never a key: only what the certificates tell everyone.
std::string certificates(const Server& server) {
  std::string out = "{\"certificates\":[";
  const TlsPointer tls = server.tls();
  bool is_first = true;
  for (const CertificateInfo& one : tls->certificates) {
    out += is_first ? "{\"use\":" : ",{\"use\":";
    is_first = false;
    append_json_string(out, one.use);
    out += ",\"file\":";
    append_json_string(out, one.file);
    out += ",\"subject\":";
    append_json_string(out, one.subject);
    out += ",\"serial_number\":";
    append_json_string(out, one.serial);
    append_names(out, "uris", one.uris);
    append_names(out, "dns", one.dns);
    out +=
        fmt::format(",\"valid_from\":{},\"expiration_time\":{}}}", one.not_before, one.not_after);
  }
  return out + "]}\n";
}

std::string config_dump(const Server& server) {
  config::Child child;
  child.use = config::Component::Proxy;
  child.config = server.snapshot()->config();
  return config::render_component(child);
}

HttpServerResponse set_logging(const HttpServerRequest& request) {
  constexpr std::string_view kKey = "level=";
  log::Level level;
  if (request.query.compare(0, kKey.size(), kKey) != 0 ||
      !log::parse_level(request.query.substr(kKey.size()), level)) {
    return HttpServerResponse::text(400, "say ?level=debug, info, warn or error\n");
  }
  log::set_level(level);
  return HttpServerResponse::text(200, "OK\n");
}

HttpServerResponse metrics_response(const Server& server) {
  HttpServerResponse response = HttpServerResponse::text(200, render_metrics(server));
  response.headers = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}};
  return response;
}

}  // namespace

struct Admin::Servers {
  explicit Servers(Loop& loop) : health(loop), prometheus(loop), admin(loop) {}
  HttpServer health;
  HttpServer prometheus;
  HttpServer admin;
};

Admin::Admin(Server& server, std::optional<Fd> health, std::optional<Fd> prometheus,
             std::optional<Fd> admin)
    : server_(server) {
  ending_ = std::make_unique<Wakeup>(loop_, [this] { loop_.stop(); });
  thread_ = std::thread(
      [this, a = std::move(health), b = std::move(prometheus), c = std::move(admin)]() mutable {
        run(std::move(a), std::move(b), std::move(c));
      });
}

Admin::~Admin() {
  ending_->send();
  thread_.join();
}

void Admin::run(std::optional<Fd> health, std::optional<Fd> prometheus, std::optional<Fd> admin) {
  pthread_setname_np(pthread_self(), "admin");
  {
    Servers servers(loop_);
    add_readiness(servers.health, "/healthz/ready");
    add_readiness(servers.health, "/ready");
    servers.health.route("GET", "/healthz/live", [](const HttpServerRequest&) {
      return HttpServerResponse::text(200, "OK\n");
    });
    for (const char* path : {"/stats/prometheus", "/metrics"}) {
      servers.prometheus.route(
          "GET", path, [this](const HttpServerRequest&) { return metrics_response(server_); });
    }
    add_readiness(servers.admin, "/ready");
    add_views(servers.admin);
    add_changes(servers.admin);
    add_app_ports(servers.admin);
    if (health) servers.health.serve(std::move(*health));
    if (prometheus) servers.prometheus.serve(std::move(*prometheus));
    if (admin) servers.admin.serve(std::move(*admin));
    loop_.run();
  }
  ending_.reset();
}

void Admin::add_readiness(HttpServer& http, const char* path) {
  http.route("GET", path, [this](const HttpServerRequest&) { return readiness(server_.status()); });
}

void Admin::add_views(HttpServer& http) {
  http.route("GET", "/server_info", [this](const HttpServerRequest&) {
    return HttpServerResponse::json(200, server_info(server_));
  });
  for (const char* path : {"/stats/prometheus", "/stats", "/metrics"}) {
    http.route("GET", path, [this](const HttpServerRequest&) { return metrics_response(server_); });
  }
  http.route("GET", "/clusters", [this](const HttpServerRequest&) {
    return HttpServerResponse::text(200, clusters(server_));
  });
  http.route("GET", "/certs", [this](const HttpServerRequest&) {
    return HttpServerResponse::json(200, certificates(server_));
  });
  http.route("GET", "/config_dump", [this](const HttpServerRequest&) {
    return HttpServerResponse::text(200, config_dump(server_));
  });
}

// Changes are POST only, so that no link or prefetch can cause one.
void Admin::add_changes(HttpServer& http) {
  const auto change = [&](const char* path, std::function<void()> action) {
    http.route("POST", path, [action = std::move(action)](const HttpServerRequest&) {
      action();
      return HttpServerResponse::text(200, "OK\n");
    });
  };
  change("/healthcheck/fail", [this] { server_.status().is_health_failed = true; });
  change("/healthcheck/ok", [this] { server_.status().is_health_failed = false; });
  change("/drain_listeners", [this] { server_.request_drain(); });
  change("/quitquitquit", [this] { server_.request_quit(); });
  http.route("POST", "/logging",
             [](const HttpServerRequest& request) { return set_logging(request); });
}

}  // namespace pillion::proxy
