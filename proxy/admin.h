// Health, metrics and admin endpoints, on a thread of their own so that a scrape never delays a
// request. docs/proxy.md lists the endpoints.
#pragma once

#include <memory>
#include <optional>
#include <thread>

#include "runtime/fd.h"
#include "runtime/http_server.h"
#include "runtime/loop.h"

namespace pillion::proxy {

class Server;

class Admin {
 public:
  // Serves the listeners that are there; `server` must outlive it.
  Admin(Server& server, std::optional<Fd> health, std::optional<Fd> prometheus,
        std::optional<Fd> admin);
  ~Admin();

 private:
  struct Servers;
  void run(std::optional<Fd> health, std::optional<Fd> prometheus, std::optional<Fd> admin);
  void add_readiness(HttpServer& http, const char* path);
  void add_views(HttpServer& http);
  void add_changes(HttpServer& http);
  void add_app_ports(HttpServer& http);

  Server& server_;
  Loop loop_;
  std::unique_ptr<Wakeup> ending_;
  std::thread thread_;
};

// The counters of every worker as Prometheus text.
std::string render_metrics(const Server& server);

}  // namespace pillion::proxy
