#include "adapters/metrics/adapter.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/json_text.h"
#include "runtime/log.h"

namespace pillion::metrics {
namespace {

constexpr Duration kTick = std::chrono::seconds(1);
// Of the drain's time, kept for the receipt.
constexpr Duration kFinishReserve = std::chrono::milliseconds(500);
constexpr const char* kOwnSource = "pillion-metrics";

// The inputs of one kind of naming, so that series keep their names.
bool has_same_naming(const config::MetricsConfig& a, const config::MetricsConfig& b) {
  return a.labels == b.labels && a.service == b.service;
}

// Those that go leave the paths of Unix sockets to those that stay.
void leave_shared_paths(const std::vector<std::unique_ptr<Source>>& going,
                        const std::vector<std::unique_ptr<Source>>& staying) {
  for (const auto& source : going) {
    if (!source || source->statsd() == nullptr) continue;
    const auto& path = source->config().statsd->socket;
    const bool is_used = std::any_of(staying.begin(), staying.end(), [&](const auto& other) {
      return other && other->statsd() && path && other->config().statsd->socket == path;
    });
    if (is_used) source->statsd()->leave_path();
  }
}

}  // namespace

Adapter::Adapter(Loop& loop, const Clock& clock, config::MetricsConfig config, Reload reload)
    : loop_(loop),
      clock_(clock),
      config_(std::move(config)),
      reload_(std::move(reload)),
      component_(loop,
                 {.on_reload = [this] { this->reload(); },
                  .on_drain = [this] { begin_drain(); },
                  .on_deadline = [this] { end(); }},
                 kFinishReserve),
      client_(loop, {.user_agent = "pillion-metrics"}),
      budget_(config_.max_series),
      tick_(loop) {}

Adapter::~Adapter() = default;

Result<void> Adapter::start(InheritedListeners listeners) {
  listeners_ = std::move(listeners);
  if (auto opened = open_endpoints(); !opened) return opened;
  for (std::size_t i = 0; i < config_.inputs.size(); ++i) {
    auto source = make_one(config_, i, {});
    if (!source) return fail(source.error());
    sources_.push_back(std::move(*source));
  }
  make_outputs();
  tick_.start(kTick, kTick, [this] { tick(); });
  component_.become_ready();
  log::info("ready: {} inputs, metrics at http://{}/metrics", sources_.size(),
            config_.listen.to_string());
  return {};
}

void Adapter::run() { loop_.run(); }

// ---- Endpoints

Result<void> Adapter::open_endpoints() {
  scraped_.emplace(loop_);
  admin_.emplace(loop_);
  add_routes(*scraped_);
  add_routes(*admin_);
  admin_->route("GET", "/sources", [this](const HttpServerRequest&) {
    return HttpServerResponse::json(200, sources_json());
  });
  if (auto opened = serve_on(*scraped_, listeners_, "metrics", std::optional(config_.listen));
      !opened) {
    return opened;
  }
  return serve_on(*admin_, listeners_, "admin", config_.admin.listen);
}

void Adapter::add_routes(HttpServer& server) {
  const auto health = [this](const HttpServerRequest&) {
    return HttpServerResponse::text(component_.is_ready() ? 200 : 503, health_text());
  };
  for (const char* path : {"/ready", "/health", "/healthz"}) server.route("GET", path, health);
  const auto metrics = [this](const HttpServerRequest& request) { return scrape(request); };
  for (const char* path : {"/metrics", "/stats/prometheus"}) server.route("GET", path, metrics);
}

HttpServerResponse Adapter::scrape(const HttpServerRequest& request) {
  ++scrapes_;
  const TextFormat format = choose_format(find_header(request.headers, "Accept"));
  HttpServerResponse response;
  response.headers.emplace_back("Content-Type", content_type(format));
  response.body = collect().render(format, config_.has_created);
  return response;
}

std::string Adapter::health_text() {
  std::string text = component_.is_stopping() ? "stopping\n"
                     : component_.is_ready()  ? "ready\n"
                                              : "not ready\n";
  for (const auto& source : sources_) {
    const std::string trouble = source->trouble();
    text += fmt::format("{}: {}{}\n", source->name(), source->is_up() ? "up" : "down",
                        trouble.empty() ? "" : ", " + trouble);
  }
  for (const auto& output : outputs_) {
    text += fmt::format("{}: {}\n", output->name(),
                        output->trouble().empty() ? "up" : output->trouble());
  }
  for (const std::string& conflict : conflicts_) text += "left out: " + conflict + "\n";
  return text;
}

std::string Adapter::sources_json() const {
  std::string out = "[";
  for (const auto& source : sources_) {
    if (out.size() > 1) out += ',';
    out += "{\"source\":";
    append_json_string(out, source->name());
    out += source->is_up() ? ",\"up\":true" : ",\"up\":false";
    out += ",\"trouble\":";
    append_json_string(out, source->trouble());
    out += '}';
  }
  return out + "]\n";
}

// ---- What is shown

Merge Adapter::collect() {
  // Ours first, so that nobody takes our names.
  Merge merge;
  merge.add(kOwnSource, own_families());
  for (const auto& source : sources_) merge.add(source->name(), source->families());
  left_out_ = merge.series_left_out();
  if (merge.conflicts() != conflicts_) {
    conflicts_ = merge.conflicts();
    for (const std::string& conflict : conflicts_) log::warn("left out: {}", conflict);
  }
  return merge;
}

std::shared_ptr<const Families> Adapter::own_families() const {
  Families own;
  for (const auto& source : sources_) {
    own.add("pillion_metrics_source_up", Kind::Gauge, source->is_up() ? 1 : 0,
            {{"source", source->name()}}, "Whether the input has something to show.");
  }
  for (const auto& source : sources_) source->report(own);
  for (const auto& output : outputs_) output->report(own);
  own.add("pillion_metrics_series", Kind::Gauge, static_cast<double>(budget_.used()), {},
          "Series of all inputs.");
  own.add("pillion_metrics_series_limit", Kind::Gauge, static_cast<double>(budget_.max()), {},
          "max_series.");
  own.add("pillion_metrics_conflicting_series", Kind::Gauge, static_cast<double>(left_out_), {},
          "Series left out of the last answer, since inputs contradict each other.");
  own.add("pillion_metrics_scrapes_total", Kind::Counter, static_cast<double>(scrapes_), {},
          "Times that somebody asked for the metrics.");
  Refused refused;
  Naming naming;
  naming.labels.assign(config_.labels.begin(), config_.labels.end());
  return std::make_shared<Families>(
      finish(std::move(own), naming, static_cast<std::size_t>(-1), refused));
}

// ---- Sources

Result<std::unique_ptr<Source>> Adapter::make_one(const config::MetricsConfig& config,
                                                  std::size_t index,
                                                  StatsdServer::Sockets sockets) {
  const config::MetricsInput& input = config.inputs[index];
  if (input.statsd) {
    auto opened = StatsdServer::open(*input.statsd, index, listeners_, std::move(sockets));
    if (!opened) return fail(opened.error().wrap(input.name));
    sockets = std::move(*opened);
  }
  Workshop workshop{loop_, clock_, client_, budget_};
  return make_source(workshop, config, index, std::move(sockets));
}

void Adapter::make_outputs() {
  for (const auto& output : config_.outputs) {
    if (!output.otlp) continue;
    outputs_.push_back(std::make_unique<OtlpPush>(loop_, clock_, client_, *output.otlp,
                                                  config_.service, [this] { return collect(); }));
    outputs_.back()->start();
  }
}

void Adapter::tick() {
  std::size_t up = 0;
  std::string trouble;
  for (const auto& source : sources_) {
    if (source->is_up()) ++up;
    if (trouble.empty() && !source->is_up()) trouble = source->name() + ": " + source->trouble();
  }
  for (const auto& output : outputs_) {
    if (trouble.empty() && !output->trouble().empty()) {
      trouble = output->name() + ": " + output->trouble();
    }
  }
  std::string status = fmt::format("{} of {} inputs answer", up, sources_.size());
  if (!trouble.empty()) status += "; " + trouble;
  component_.set_status(std::move(status));
}

// ---- Reload

void Adapter::reload() {
  auto loaded = reload_();
  std::string why = loaded ? "" : loaded.error().message();
  if (loaded) {
    for (const std::string& problem : find_problems(*loaded)) {
      why += (why.empty() ? "" : "; ") + problem;
    }
    const bool is_fixed = loaded->listen == config_.listen && loaded->admin == config_.admin;
    if (!is_fixed) why += "`listen` and `admin` change with a restart only";
  }
  if (why.empty()) {
    if (auto applied = apply(std::move(*loaded)); !applied) why = applied.error().message();
  }
  if (!why.empty()) {
    log::error("keeping the old configuration: {}", why);
    component_.set_status("reload refused: " + why);
    return;
  }
  log::info("configuration reloaded: {} inputs", sources_.size());
}

// Sockets of sources that listen where `wanted` does, so that no datagram is lost in between.
StatsdServer::Sockets Adapter::share_sockets(const config::StatsdInput& wanted) {
  StatsdServer::Sockets sockets;
  const auto use = [](Fd& place, Result<Fd> shared) {
    if (shared) place = std::move(*shared);
  };
  for (const auto& source : sources_) {
    StatsdServer* const server = source ? source->statsd() : nullptr;
    if (server == nullptr) continue;
    const config::StatsdInput& there = *source->config().statsd;
    if (wanted.udp && wanted.udp == there.udp) use(sockets.udp, server->share_udp());
    if (wanted.tcp && wanted.tcp == there.tcp) use(sockets.tcp, server->share_tcp());
    if (wanted.socket && wanted.socket == there.socket) {
      use(sockets.datagrams, server->share_datagrams());
    }
  }
  return sockets;
}

// All or nothing. An input that says what it said keeps its source, with everything that it has
// counted.
Result<void> Adapter::apply(config::MetricsConfig next) {
  std::vector<std::unique_ptr<Source>> made(next.inputs.size());
  std::vector<Source*> kept(next.inputs.size());
  const bool keeps_names = has_same_naming(config_, next);
  for (std::size_t i = 0; i < next.inputs.size(); ++i) {
    const auto same = std::find_if(sources_.begin(), sources_.end(), [&](const auto& source) {
      return keeps_names && source->config() == next.inputs[i];
    });
    if (same != sources_.end()) {
      kept[i] = same->get();
      continue;
    }
    const auto& statsd = next.inputs[i].statsd;
    auto source = make_one(next, i, statsd ? share_sockets(*statsd) : StatsdServer::Sockets());
    if (!source) {
      leave_shared_paths(made, sources_);
      return fail(source.error());
    }
    made[i] = std::move(*source);
  }
  for (std::size_t i = 0; i < made.size(); ++i) {
    if (kept[i] == nullptr) continue;
    const auto place = std::find_if(sources_.begin(), sources_.end(),
                                    [&](const auto& source) { return source.get() == kept[i]; });
    made[i] = std::move(*place);
  }
  adopt(std::move(next), std::move(made));
  return {};
}

void Adapter::adopt(config::MetricsConfig next, std::vector<std::unique_ptr<Source>> sources) {
  for (const auto& old : sources_) {
    if (!old) continue;
    samples_before_ += old->samples();
    refused_before_ += old->refused();
  }
  leave_shared_paths(sources_, sources);
  sources_ = std::move(sources);
  budget_.set_max(next.max_series);
  const bool has_same_outputs = next.outputs == config_.outputs && next.service == config_.service;
  config_ = std::move(next);
  if (has_same_outputs) return;
  for (const auto& output : outputs_) points_before_ += output->points_pushed();
  outputs_.clear();
  make_outputs();
}

// ---- The end

void Adapter::begin_drain() {
  log::info("stopping: taking in what has arrived{}", outputs_.empty() ? "" : " and pushing it");
  for (const auto& source : sources_) source->finish();
  finishing_ = outputs_.size();
  for (const auto& output : outputs_) {
    output->finish([this] {
      if (--finishing_ == 0) end();
    });
  }
  if (outputs_.empty()) end();
}

void Adapter::end() {
  component_.finish();
  std::uint64_t samples = samples_before_;
  std::uint64_t refused = refused_before_;
  std::uint64_t points = points_before_;
  for (const auto& source : sources_) {
    samples += source->samples();
    refused += source->refused();
  }
  for (const auto& output : outputs_) points += output->points_pushed();
  log::info("samples taken {}, refused {}; scrapes {}, points pushed {}", samples, refused,
            scrapes_, points);
  component_.send_receipt({{"samples_taken", static_cast<long long>(samples)},
                           {"samples_refused", static_cast<long long>(refused)},
                           {"scrapes", static_cast<long long>(scrapes_)},
                           {"points_pushed", static_cast<long long>(points)}});
  loop_.stop();
}

}  // namespace pillion::metrics
