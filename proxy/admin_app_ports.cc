// /app_ports of the admin endpoint: on which local port each port of the app is served (GET), and
// the move to another one (POST), with which a deploy shifts new requests and connections to the
// next generation of the app.
#include <fmt/format.h>

#include <atomic>
#include <future>
#include <map>
#include <string>

#include "proxy/admin.h"
#include "proxy/server.h"

namespace pillion::proxy {
namespace {

constexpr std::chrono::seconds kWorkerAnswer{2};

// Requests and connections under way by the app's local port, over all workers; empty when one does
// not answer in time.
std::optional<std::map<std::uint16_t, std::size_t>> count_busy(const Server& server) {
  std::map<std::uint16_t, std::size_t> busy;
  for (const auto& worker : server.workers()) {
    // Shared with the task: the answer may come after we gave up waiting.
    auto answer = std::make_shared<std::promise<std::map<std::uint16_t, std::size_t>>>();
    auto future = answer->get_future();
    worker->post([answer, one = worker.get()] { answer->set_value(one->count_busy_app_ports()); });
    if (future.wait_for(kWorkerAnswer) != std::future_status::ready) return std::nullopt;
    for (const auto& [port, count] : future.get()) busy[port] += count;
  }
  return busy;
}

// "?idle=8080": whether nothing is under way there, for who can read a status only.
HttpServerResponse answer_idle(const std::map<std::uint16_t, std::size_t>& busy,
                               std::string_view port) {
  for (const auto& [one, count] : busy) {
    if (std::to_string(one) != port || count == 0) continue;
    return HttpServerResponse::text(503, fmt::format("{} under way\n", count));
  }
  return HttpServerResponse::text(200, "idle\n");
}

HttpServerResponse show(const Server& server, const HttpServerRequest& request) {
  const auto busy = count_busy(server);
  if (!busy) return HttpServerResponse::text(503, "a worker does not answer\n");
  constexpr std::string_view kIdle = "idle=";
  if (request.query.compare(0, kIdle.size(), kIdle) == 0) {
    return answer_idle(*busy, std::string_view(request.query).substr(kIdle.size()));
  }
  std::string out = "{\"ports\":[";
  const AppPorts ports = server.app_ports();
  for (const AppPort& one : ports.all()) {
    out += fmt::format("{}{{\"port\":{},\"app_port\":{}}}", &one == ports.all().data() ? "" : ",",
                       one.port, one.app_port);
  }
  out += "],\"busy\":{";
  for (const auto& [port, count] : *busy) {
    out += fmt::format("{}\"{}\":{}", port == busy->begin()->first ? "" : ",", port, count);
  }
  return HttpServerResponse::json(200, out + "}}\n");
}

// Answers when every worker sends new requests to the new port.
HttpServerResponse move(Server& server, const HttpServerRequest& request) {
  auto moves = parse_app_ports(request.query, server.app_ports());
  if (!moves) return HttpServerResponse::text(400, moves.error().message() + "\n");
  auto done = std::make_shared<std::promise<void>>();  // shared: it may be late
  auto future = done->get_future();
  server.move_app(std::move(*moves), [done] { done->set_value(); });
  if (future.wait_for(kWorkerAnswer) != std::future_status::ready) {
    return HttpServerResponse::text(503, "a worker does not answer\n");
  }
  return HttpServerResponse::text(200, "OK\n");
}

}  // namespace

void Admin::add_app_ports(HttpServer& http) {
  http.route("GET", "/app_ports",
             [this](const HttpServerRequest& request) { return show(server_, request); });
  http.route("POST", "/app_ports",
             [this](const HttpServerRequest& request) { return move(server_, request); });
}

}  // namespace pillion::proxy
