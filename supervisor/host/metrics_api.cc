#include "supervisor/host/metrics_api.h"

#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/listeners.h"
#include "runtime/log.h"
#include "supervisor/host/listeners.h"
#include "supervisor/host/supervisor.h"

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kStoredListener = "metrics";
// Prometheus waits for ten seconds by default.
constexpr Duration kFetchTimeout = std::chrono::seconds(2);

HttpServerResponse metrics_page(const std::string& text) {
  HttpServerResponse response;
  response.headers = {{"Content-Type", kContentType}};
  response.body = text;
  return response;
}

std::string health_json(const core::ServiceStatus& status) {
  Json json = {{"service", status.name},
               {"state", core::to_string(status.state)},
               {"ready", status.is_ready},
               {"why", status.why}};
  for (const core::ChildStatus& child : status.children) {
    json["children"].push_back({{"name", child.name},
                                {"state", core::to_string(child.state)},
                                {"ready", child.is_ready},
                                {"why", child.why}});
  }
  return json.dump() + "\n";
}

}  // namespace

Result<std::optional<Fd>> open_metrics_listener(KeeperClient& keeper,
                                                const config::ServiceSettings& settings) {
  if (!settings.metrics) return std::optional<Fd>();
  // Kept by the keeper, so that no scrape is refused while the supervisor restarts.
  if (auto kept = keeper.get_fd(kStoredListener)) return std::optional<Fd>(std::move(kept));
  ListenOptions options;
  options.is_ipv6_only = false;  // "::" is every address
  auto made = listen_tcp(settings.metrics->ip.to_string(), settings.metrics->port, options);
  if (!made) {
    const bool is_taken = made.error().errno_value() == EADDRINUSE;
    const std::string holder = is_taken ? find_port_holder(settings.metrics->port) : "";
    return fail(made.error().wrap(holder.empty() ? "service.metrics"
                                                 : "service.metrics (held by " + holder + ")"));
  }
  if (auto put = keeper.put_fd(kStoredListener, made->get()); !put) return fail(put.error());
  return std::optional<Fd>(std::move(*made));
}

MetricsApi::MetricsApi(Loop& loop, control::Api& api, Supervisor& supervisor,
                       std::optional<Fd> listener)
    : loop_(loop), supervisor_(supervisor) {
  api.add("GET", "/v1/metrics",
          [this](const control::ApiRequest& request, control::Responder reply) {
            if (request.has_flag("own"))
              return reply.text(200, kContentType, supervisor_.render_metrics());
            gather([reply](const std::string& text) { reply.text(200, kContentType, text); });
          });
  if (!listener) return;
  server_.emplace(loop);
  add_pages();
  server_->serve(std::move(*listener));
}

void MetricsApi::add_pages() {
  server_->route("GET", "/metrics",
                 HttpServerHandler([this](const HttpServerRequest&, HttpResponder respond) {
                   gather([respond = std::move(respond)](const std::string& text) {
                     respond(metrics_page(text));
                   });
                 }));
  server_->route("GET", "/ready", [this](const HttpServerRequest&) {
    const core::ServiceStatus status = supervisor_.status();
    const std::string why = status.why.empty() ? "not ready" : status.why;
    return HttpServerResponse::text(status.is_ready ? 200 : 503,
                                    (status.is_ready ? "ready" : why) + "\n");
  });
  server_->route("GET", "/health", [this](const HttpServerRequest&) {
    return HttpServerResponse::json(200, health_json(supervisor_.status()));
  });
}

void MetricsApi::gather(OnText on_text) {
  const bool is_new = !round_;
  if (is_new) round_ = std::make_unique<Round>();
  round_->waiting.push_back(std::move(on_text));
  if (is_new) begin_round();
}

void MetricsApi::begin_round() {
  // Ours come first: where a child uses one of our names, ours count.
  static_cast<void>(round_->merged.add(supervisor_.render_metrics(), {}));
  const auto endpoints = supervisor_.metrics_endpoints();
  for (const ChildEndpoint& endpoint : endpoints) {
    round_->scrapes.push_back({endpoint.child, nullptr, clock_.now(), false, 0, {}});
  }
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (!endpoints[i].is_running) continue;
    ++round_->pending;
    round_->scrapes[i].fetch = std::make_unique<MetricsFetch>(loop_);
    round_->scrapes[i].fetch->start(
        endpoints[i].at, kFetchTimeout,
        [this, i](Result<std::string> body) { on_fetched(i, std::move(body)); });
  }
  if (round_->pending == 0) finish_round();
}

void MetricsApi::on_fetched(std::size_t index, Result<std::string> body) {
  Scrape& scrape = round_->scrapes[index];
  scrape.seconds = std::chrono::duration<double>(clock_.now() - scrape.started).count();
  auto added = body ? round_->merged.add(
                          *body, {{"service", supervisor_.status().name}, {"child", scrape.child}})
                    : Result<MergedExposition::Added>(fail(body.error()));
  if (added) {
    scrape.is_up = true;
    scrape.added = *added;
  } else {
    log::debug("the metrics of {} are missing: {}", scrape.child, added.error().message());
  }
  if (--round_->pending == 0) finish_round();
}

std::string MetricsApi::describe_scrapes() const {
  std::string text;
  MetricsWriter writer(text);
  const std::string service = supervisor_.status().name;
  const auto write = [&](const char* name, const char* help, auto value) {
    writer.begin_family(name, MetricType::Gauge, help);
    for (const Scrape& scrape : round_->scrapes) {
      writer.sample({{"service", service}, {"child", scrape.child}},
                    static_cast<double>(value(scrape)));
    }
  };
  write("pillion_scrape_up", "Whether the child's metrics are in this answer.",
        [](const Scrape& scrape) { return scrape.is_up ? 1 : 0; });
  write("pillion_scrape_duration_seconds", "How long the child took to answer.",
        [](const Scrape& scrape) { return scrape.seconds; });
  write("pillion_scrape_samples", "Samples that were taken from the child.",
        [](const Scrape& scrape) { return scrape.added.samples; });
  write("pillion_scrape_dropped_samples",
        "Samples left out: there already, or of a type that others contradict.",
        [](const Scrape& scrape) { return scrape.added.dropped; });
  return text;
}

void MetricsApi::finish_round() {
  static_cast<void>(round_->merged.add(describe_scrapes(), {}));
  const std::string text = round_->merged.render();
  const auto waiting = std::move(round_->waiting);
  // One of its fetches may be the caller.
  loop_.defer_delete(std::move(round_));
  for (const OnText& on_text : waiting) on_text(text);
}

}  // namespace pillion::supervisor::host
