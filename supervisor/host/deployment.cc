#include "supervisor/host/deployment.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "config/diagnostic.h"
#include "config/differences.h"
#include "config/load.h"
#include "config/render.h"
#include "config/system_lookup.h"
#include "runtime/listeners.h"
#include "runtime/log.h"
#include "supervisor/core/child.h"
#include "supervisor/host/namespaces.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {
namespace {

constexpr char kAppPorts[] = "PILLION_APP_PORTS";  // what a proxy that starts goes by
constexpr std::size_t kLinesKept = 10;
constexpr std::size_t kLogTailBytes = 64 * 1024;
constexpr std::size_t kDifferencesShown = 5;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

config::Child* find_app(config::Service& service) {
  for (config::Child& child : service.children) {
    if (child.role == config::Role::App) return &child;
  }
  return nullptr;
}

tl::unexpected<Error> refuse(std::string message) {
  return fail(Error(std::move(message), EINVAL));
}

std::string where(const config::Difference& difference) {
  if (difference.child.empty()) return difference.key;
  return difference.child + ": " + difference.key;
}

// What beside the app is not the same.
std::vector<std::string> find_others(const config::Service& present, const config::Service& next) {
  std::vector<std::string> others;
  for (const config::Child& child : next.children) {
    if (present.find(child.name) == nullptr) others.push_back(child.name + " is new");
  }
  for (const config::Child& child : present.children) {
    if (next.find(child.name) == nullptr) others.push_back(child.name + " is gone");
  }
  for (const config::Difference& difference : config::find_differences(present, next)) {
    if (difference.child != present.app().name) others.push_back(where(difference));
  }
  return others;
}

core::ChildPlan plan_of_app(const config::Service& service) {
  for (core::ChildPlan& plan : core::make_plan(service).children) {
    if (plan.role == core::Role::App) return std::move(plan);
  }
  return {};
}

}  // namespace

Deployment::Deployment(Loop& loop, ServiceSetup& setup, Children& children, ChildSlots& slots,
                       AcceptedFile& accepted, config::Service& service, const ServicePaths& paths,
                       PostEvent post)
    : setup_(setup),
      children_(children),
      slots_(slots),
      accepted_(accepted),
      service_(service),
      paths_(paths),
      post_(std::move(post)),
      traffic_(loop),
      drain_deadline_(loop) {}

std::string_view to_string(DeployPhase phase) {
  switch (phase) {
    case DeployPhase::None: return "";
    case DeployPhase::Warming: return "warming up";
    case DeployPhase::Shifting: return "shifting";
    case DeployPhase::Draining: return "draining";
    case DeployPhase::Retiring: return "retiring";
    case DeployPhase::RollingBack: return "rolling back";
  }
  return "";
}

// ---- Start and restart of the supervisor --------------------------------------------------------

void Deployment::prepare() {
  close();
  for (core::ChildId slot = 0; slot < slots_.size(); ++slot) {
    if (slots_.at(slot).role != config::Role::App) continue;
    record_.slots[slot] = own_ports(slots_.at(slot));
    slots_.set(slot, fitted(slot, slots_.at(slot)));
  }
}

void Deployment::restore(const core::Snapshot& snapshot) {
  if (const auto text = read_file(directory() + "/record.json")) {
    auto record = parse_deploy_record(*text);
    if (record) record_ = std::move(*record);
    if (!record) log::error("{}", record.error().message());
  }
  const auto& deploy = snapshot.deploy;
  if (!deploy) {
    ::unlink(next_file().c_str());
    return;
  }
  candidate_slot_ = deploy->candidate;
  candidate_generation_ = snapshot.children[deploy->candidate].generation;
  failure_ = deploy->reason;
  record_.slots.try_emplace(deploy->candidate, record_.next_ports);
  const bool is_promoted =
      snapshot.children[deploy->candidate].membership == static_cast<int>(core::Membership::Member);
  phase_ = is_promoted ? DeployPhase::Retiring : DeployPhase::Warming;
  if (!failure_.empty()) phase_ = DeployPhase::RollingBack;
  if (is_promoted) install_next();
}

void Deployment::fit_slots(const core::Snapshot& snapshot) {
  const auto next = next_app();
  for (core::ChildId slot = 0; slot < slots_.size(); ++slot) {
    const bool is_candidate = snapshot.deploy && slot == snapshot.deploy->candidate;
    slots_.set(slot, fitted(slot, is_candidate && next ? *next : slots_.at(slot)));
  }
}

std::optional<core::ChildPlan> Deployment::candidate() const {
  if (!exists(next_file())) return std::nullopt;
  const auto next = load(next_file());
  if (!next) return std::nullopt;
  return plan_of_app(*next);
}

config::Child Deployment::fitted(core::ChildId slot, config::Child child) const {
  if (child.role == config::Role::App && !child.command.empty()) {
    const auto ports = record_.slots.find(slot);
    const AppPortMap own = own_ports(child);
    return fill_app(std::move(child), ports == record_.slots.end() ? own : ports->second);
  }
  if (child.use != config::Component::Proxy) return child;
  std::string moves;
  for (const auto& [port, app_port] : record_.traffic) {
    if (port != app_port) moves += fmt::format("{}{}={}", moves.empty() ? "" : "&", port, app_port);
  }
  child.env.erase(kAppPorts);
  if (!moves.empty()) child.env[kAppPorts] = moves;
  return child;
}

// ---- A wish -------------------------------------------------------------------------------------

Result<config::Service> Deployment::load(const std::string& file) const {
  auto loaded = config::load_service(file, config::system_load_options());
  if (loaded.value) return std::move(*loaded.value);
  return refuse(config::format_text(loaded.diagnostics));
}

std::optional<config::Child> Deployment::next_app() const {
  if (!exists(next_file())) return std::nullopt;
  auto service = load(next_file());
  if (service) return service->app();
  log::error("cannot use {}: {}", next_file(), service.error().message());
  return std::nullopt;
}

// Written and read again, so that what was wished for is checked as any file is.
Result<config::Service> Deployment::make_next(const DeployWish& wish) const {
  auto next = wish.file.empty() ? Result<config::Service>(accepted_.service()) : load(wish.file);
  if (!next) return next;
  if (next->name() != service_.name()) {
    return refuse(
        fmt::format("{} is the file of {}, not of {}", wish.file, next->name(), service_.name()));
  }
  config::Child* app = find_app(*next);
  if (!wish.command.empty()) app->command = wish.command;
  for (const auto& [name, value] : wish.env) app->env[name] = value;
  if (auto made = make_directories(directory(), 0700); !made) return fail(made.error());
  auto written = write_file_atomically(next_file(), config::render_service(*next), 0600);
  if (!written) return fail(written.error());
  return load(next_file());
}

Result<void> Deployment::check_next(const config::Service& next) const {
  const config::Service whole = completed(next);
  if (whole.app().ports != service_.app().ports) {
    return refuse(
        "the app's ports change, and with them what leads to it: `pillion reload` does "
        "that; a deploy does not");
  }
  const auto others = find_others(service_, whole);
  if (others.empty()) return {};
  std::string list;
  for (std::size_t i = 0; i < std::min(others.size(), kDifferencesShown); ++i) {
    list += (list.empty() ? "" : ", ") + others[i];
  }
  if (others.size() > kDifferencesShown) list += ", …";
  return refuse(
      fmt::format("a deploy replaces the app only, but more would change ({}): apply that "
                  "with `pillion reload {}` first",
                  list, service_.name()));
}

Result<void> Deployment::check_traffic(const config::Child& app) const {
  for (const config::ChildPort& port : app.ports) {
    if (port.protocol != config::AppProtocol::Udp) continue;
    return refuse(
        fmt::format("port {} is UDP, which is not proxied: nobody could send it to the "
                    "next generation; `pillion restart {} {}` replaces the app with a gap",
                    port.port, service_.name(), app.name));
  }
  if (app.ports.empty()) return {};
  const config::Child* child = service_.using_component(config::Component::Proxy);
  if (child == nullptr) {
    return refuse(
        fmt::format("a deploy needs a proxy in front of the app, which sends new requests "
                    "to its next generation, and {} has none: add [sidecar.proxy] with "
                    "use = \"proxy\", or replace the app with a gap (`pillion restart {} "
                    "{}`)",
                    service_.name(), service_.name(), app.name));
  }
  const auto& proxy = std::get<config::ProxyConfig>(child->config);
  for (const config::ChildPort& port : app.ports) {
    const bool is_led = std::any_of(proxy.inbound.ports.begin(), proxy.inbound.ports.end(),
                                    [&](const auto& one) { return one.port == port.port; });
    if (!is_led) {
      return refuse(fmt::format("{} does not lead to port {}: inbound.ports does not have it",
                                child->name, port.port));
    }
  }
  const bool is_host = service_.network.mode == config::NetworkMode::Host;
  const auto& published = proxy.inbound.published;
  const bool has_listener = std::any_of(published.begin(), published.end(),
                                        [](const auto& one) { return one.listen.has_value(); });
  if (is_host && !service_.network.intercept.inbound && !has_listener) {
    return refuse(
        fmt::format("in mode \"host\" nothing leads clients through {0}: give it "
                    "[[sidecar.{0}.config.inbound.published]] with listener, port and "
                    "listen",
                    child->name));
  }
  return {};
}

Result<AppPortMap> Deployment::choose_ports(const config::Child& app,
                                            config::PortRange range) const {
  std::set<std::uint16_t> taken;
  for (const auto& [slot, ports] : record_.slots) {
    for (const auto& [port, app_port] : ports) taken.insert(app_port);
  }
  auto chosen = choose_app_ports(app, range, taken, [&](std::uint16_t port) {
    return make_inside(setup_.network_namespace(), [&] { return listen_tcp("0.0.0.0", port); })
        .has_value();
  });
  if (!chosen) return refuse(chosen.error().message());
  return chosen;
}

Result<core::DeployRequested> Deployment::prepare(const DeployWish& wish,
                                                  const core::ServiceStatus& status) {
  if (phase_ != DeployPhase::None) {
    return fail(
        fmt::format("a deploy of {} is under way ({}); wait for its end, or end it with "
                    "`pillion deploy {} --cancel`",
                    status.name, to_string(phase_), status.name));
  }
  if (status.state != core::ServiceState::Running) {
    return fail(fmt::format("{} is {}; a deploy needs a running service", status.name,
                            core::to_string(status.state)));
  }
  auto next = make_next(wish);
  if (!next) return fail(next.error());
  const config::Child& app = next->app();
  if (auto checked = check_next(*next); !checked) return fail(checked.error());
  if (auto checked = check_traffic(app); !checked) return fail(checked.error());
  auto ports = choose_ports(app, wish.ports);
  if (!ports) return fail(ports.error());
  record_.next_ports = std::move(*ports);
  record_.drain_milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(wish.drain_timeout).count();
  ++record_.count;
  record_.source = wish.file.empty() ? "a command" : wish.file;
  failure_.clear();
  candidate_slot_.reset();
  candidate_generation_ = 0;
  save();
  phase_ = DeployPhase::Warming;
  core::DeployRequested event;
  event.app = plan_of_app(*next);
  event.timeout = wish.timeout;
  event.min_ready = wish.min_ready;
  return event;
}

void Deployment::discard() {
  phase_ = DeployPhase::None;
  ::unlink(next_file().c_str());
}

// ---- What the core asks for ---------------------------------------------------------------------

void Deployment::use(const core::UsePlan& action) {
  auto app = next_app();
  if (!app) return;  // the spawn will fail, and with it the deploy
  candidate_slot_ = action.child;
  record_.slots[action.child] = record_.next_ports;
  save();
  slots_.set(action.child, fitted(action.child, std::move(*app)));
  if (children_.has_channels(action.child)) return;
  if (auto opened = children_.open_channels(action.child); !opened) {
    log::error("{}", opened.error().message());
  }
}

void Deployment::observe(const core::Spawn& action) {
  if (candidate_slot_ == action.child) candidate_generation_ = action.generation;
}

void Deployment::observe(const core::Report& report) {
  if (report.kind != core::EventKind::DeployFailed || !failure_.empty()) return;
  const auto reason = report.fields.find("reason");
  phase_ = DeployPhase::RollingBack;
  failure_ = reason == report.fields.end() ? report.text : reason->second;
}

std::optional<core::ChildId> Deployment::proxy_slot() const {
  for (core::ChildId slot = 0; slot < slots_.size(); ++slot) {
    if (slots_.at(slot).use == config::Component::Proxy) return slot;
  }
  return std::nullopt;
}

AppPortMap Deployment::ports_of(core::ChildId slot) const {
  const auto found = record_.slots.find(slot);
  return found == record_.slots.end() ? AppPortMap() : found->second;
}

// A proxy that starts goes by this.
void Deployment::direct(const AppPortMap& ports) {
  record_.traffic = ports;
  save();
  if (const auto proxy = proxy_slot()) slots_.set(*proxy, fitted(*proxy, slots_.at(*proxy)));
}

void Deployment::shift(const core::ShiftTraffic& action) {
  drain_deadline_.stop();
  const bool is_forth = action.to == candidate_slot_;
  if (is_forth) phase_ = DeployPhase::Shifting;
  const AppPortMap ports = ports_of(action.to);
  const auto proxy = proxy_slot();
  if (ports.empty() || !proxy) return post_(core::TrafficShifted{action.to});
  direct(ports);
  const auto& config = std::get<config::ProxyConfig>(slots_.at(*proxy).config);
  traffic_.move(config, setup_.network_namespace(), ports,
                [this, action, is_forth](Result<void> moved) {
                  if (!moved) return post_(core::ShiftFailed{action.to, moved.error().message()});
                  if (!is_forth) return post_(core::TrafficShifted{action.to});
                  await_drained(action.from, action.to);
                });
}

void Deployment::await_drained(core::ChildId from, core::ChildId to) {
  phase_ = DeployPhase::Draining;
  const std::chrono::milliseconds patience(record_.drain_milliseconds);
  if (patience.count() == 0) return shifted(to);
  log::info("deploy: new requests go to the next generation; the old one ends what it has begun");
  std::vector<std::uint16_t> ports;
  for (const auto& [port, app_port] : ports_of(from)) ports.push_back(app_port);
  const auto& config = std::get<config::ProxyConfig>(slots_.at(*proxy_slot()).config);
  traffic_.await_idle(config, setup_.network_namespace(), std::move(ports),
                      [this, to] { shifted(to); });
  drain_deadline_.start(patience, [this, to] {
    log::warn("deploy: the old generation is still busy, and is told to stop now");
    shifted(to);
  });
}

void Deployment::shifted(core::ChildId to) {
  drain_deadline_.stop();
  traffic_.cancel();
  post_(core::TrafficShifted{to});
}

void Deployment::install_next() {
  if (!exists(next_file())) return;  // it was before
  auto next = load(next_file());
  const bool is_accepted =
      next && config::render_service(*next) == config::render_service(accepted_.service());
  if (next && !is_accepted) {
    auto done = accepted_.stage(std::move(*next));
    if (done) done = accepted_.accept();
    if (!done) {
      log::error("a restart of the supervisor would undo the deploy: {}", done.error().message());
    }
  }
  service_ = completed(accepted_.service());
  ::unlink(next_file().c_str());
}

void Deployment::promote(const core::PromoteApp&) {
  phase_ = DeployPhase::Retiring;
  install_next();
}

void Deployment::end(const core::EndDeploy& action, const core::ServiceStatus& status) {
  traffic_.cancel();
  drain_deadline_.stop();
  phase_ = DeployPhase::None;
  DeployOutcome outcome;
  outcome.number = record_.count;
  outcome.is_promoted = action.is_promoted;
  outcome.generation = candidate_generation_;
  if (!action.is_promoted) {
    outcome.reason = failure_.empty() ? "the service was restarted or stopped" : failure_;
    outcome.lines = last_lines(candidate_generation_);
    for (const std::string& line : outcome.lines) {
      log::error("deploy: generation {} said: {}", candidate_generation_, line);
    }
  }
  record_.last = std::move(outcome);
  record_.slots.erase(action.gone);
  ::unlink(next_file().c_str());
  accepted_.forget_previous();
  candidate_slot_.reset();
  for (const core::ChildStatus& child : status.children) {
    const bool stays = child.role == core::Role::App && child.id != action.gone;
    if (stays && !record_.traffic.empty() && record_.traffic != ports_of(child.id)) {
      direct(ports_of(child.id));
    }
  }
  save();
}

// "2024-01-15T14:32:01.123456789Z stdout F:g3 the line": the last ones of that generation.
std::vector<std::string> Deployment::last_lines(std::uint64_t generation) const {
  std::vector<std::string> lines;
  const auto text = read_file(paths_.log + "/" + service_.app().name + ".log");
  if (!text || generation == 0) return lines;
  const std::string tag = fmt::format(":g{} ", generation);
  std::string_view rest = *text;
  if (rest.size() > kLogTailBytes) rest.remove_prefix(rest.size() - kLogTailBytes);
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto at = line.find(tag);
    if (at != std::string_view::npos && at < 50) lines.emplace_back(line.substr(at + tag.size()));
    if (lines.size() > kLinesKept) lines.erase(lines.begin());
  }
  return lines;
}

void Deployment::save() {
  if (auto made = make_directories(directory(), 0700); !made) {
    return log::error("{}", made.error().message());
  }
  auto written = write_file_atomically(directory() + "/record.json", to_json(record_), 0600);
  if (!written)
    log::error("a restart of the supervisor would lose a deploy: {}", written.error().message());
}

void Deployment::close() {
  traffic_.cancel();
  drain_deadline_.stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory(), ignored);
}

}  // namespace pillion::supervisor::host
