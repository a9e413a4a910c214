#include "supervisor/host/reload_api.h"

#include <algorithm>

#include <fmt/format.h>

#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/log.h"
#include "supervisor/host/reload_plan.h"
#include "supervisor/host/request_body.h"
#include "supervisor/host/supervisor.h"

namespace pillion::supervisor::host {
namespace {

using core::ChildState;
using Json = nlohmann::ordered_json;

constexpr Duration kWaitMax = std::chrono::minutes(10);

std::string_view word_of(core::ChildChange change) {
  switch (change) {
    case core::ChildChange::None: return "none";
    case core::ChildChange::InPlace: return "in_place";
    case core::ChildChange::Reload: return "reload";
    case core::ChildChange::Replace: break;
  }
  return "replace";
}

bool starts_anew(const control::ReloadedChild& child) {
  return child.change == "replace" || child.change == "start";
}

// From the start of its last generation that became ready until it was.
std::optional<Duration> last_time_to_ready(const EventHistory& history, const std::string& child) {
  control::EventFilter filter;
  filter.child = child;
  std::optional<control::EventRecord> ready;
  const auto events = history.select(filter);
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if ((*event)->kind == "child_ready" || (!ready && (*event)->kind == "child_started")) {
      ready = **event;
    }
    const bool is_its_start =
        ready && (*event)->kind == "child_spawning" && (*event)->generation == ready->generation;
    if (is_its_start) return ready->boot - (*event)->boot;
  }
  return {};
}

std::string refusal(const std::string& file, const std::vector<config::Diagnostic>& diagnostics) {
  const auto errors = std::count_if(diagnostics.begin(), diagnostics.end(), [](const auto& one) {
    return one.severity == config::Severity::Error;
  });
  const std::string text = config::format_text(diagnostics);
  const Json json = {{"error", fmt::format("{} has {} error{}; the service goes on as it is", file,
                                           errors, errors == 1 ? "" : "s")},
                     {"diagnostics", Json::parse(config::format_json(diagnostics))},
                     {"text", text}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string list(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string restart_needed(const control::ReloadReport& report) {
  return fmt::format(
      "{} changed, which a running service cannot take over: nothing was applied; stop it and "
      "start it again (`pillion plan {}` shows all changes)",
      list(report.restart_needed), report.service);
}

}  // namespace

ReloadApi::ReloadApi(Loop& loop, control::Api& api, Supervisor& supervisor, std::string config_file)
    : loop_(loop), supervisor_(supervisor), config_file_(std::move(config_file)) {
  api.add("POST", "/v1/reload",
          [this](const control::ApiRequest& request, control::Responder reply) {
            handle(request, reply);
          });
}

void ReloadApi::handle(const control::ApiRequest& request, const control::Responder& reply) {
  const auto body = parse_body(request);
  if (!body) return reply.error(400, body.error().message());
  const auto is_dry_run = read_flag(*body, "dry_run");
  if (!is_dry_run) return reply.error(400, is_dry_run.error().message());
  const auto file = read_text(*body, "file");
  if (!file) return reply.error(400, file.error().message());
  const std::string path = file->value_or(config_file_);
  if (path.empty() || path.front() != '/') {
    return reply.error(400, "`file` is the absolute path of a service file");
  }
  auto loaded = config::load_service(path, config::system_load_options());
  if (!loaded.value) return reply.json(422, refusal(path, loaded.diagnostics));
  const ReloadPlan plan = supervisor_.plan_reload(*loaded.value);
  control::ReloadReport report = describe(*loaded.value, plan, path);
  report.warnings = config::format_text(loaded.diagnostics);
  report.is_dry_run = *is_dry_run;
  if (*is_dry_run || !report.is_changed) return reply.json(200, control::to_json(report));
  if (!report.restart_needed.empty()) return reply.error(409, restart_needed(report));
  apply(std::move(*loaded.value), std::move(report), request, reply);
}

void ReloadApi::apply(config::Service next, control::ReloadReport report,
                      const control::ApiRequest& request, const control::Responder& reply) {
  const auto body = parse_body(request);
  const auto timeout =
      body ? read_duration(*body, "timeout") : Result<std::optional<Duration>>(std::nullopt);
  if (!timeout) return reply.error(400, timeout.error().message());
  const bool waits = request.has_flag("wait");
  std::map<std::string, core::Generation> generations;
  for (const auto& child : supervisor_.status().children) {
    const auto changed = std::find_if(report.children.begin(), report.children.end(),
                                      [&](const auto& one) { return one.name == child.name; });
    if (changed != report.children.end() && starts_anew(*changed)) {
      generations[child.name] = child.generation;
    }
  }
  if (auto reloaded = supervisor_.reload(std::move(next)); !reloaded) {
    return reply.error(409, reloaded.error().message());
  }
  if (!waits) return reply.json(202, control::to_json(report));
  waiters_.push_back({std::move(report), std::move(generations), reply, Timer(loop_)});
  const auto waiter = std::prev(waiters_.end());
  waiter->timeout.start(std::min(timeout->value_or(kWaitMax), kWaitMax), [this, waiter] {
    const std::string why = supervisor_.status().why;
    waiter->reply.error(504, "taken over, but not everything runs by it yet" +
                                 (why.empty() ? std::string() : ": " + why));
    waiters_.erase(waiter);
  });
  on_change();
}

void ReloadApi::reload_file() {
  log::info("SIGHUP: reloading {}", config_file_);
  auto loaded = config::load_service(config_file_, config::system_load_options());
  if (!loaded.value) {
    return log::error("the service goes on as it is: {}", config::format_text(loaded.diagnostics));
  }
  const ReloadPlan plan = supervisor_.plan_reload(*loaded.value);
  if (plan.is_empty()) return log::info("nothing has changed in {}", config_file_);
  if (!plan.restart_tables.empty()) {
    return log::error("{}", restart_needed(describe(*loaded.value, plan, config_file_)));
  }
  const auto reloaded = supervisor_.reload(std::move(*loaded.value));
  if (!reloaded) log::error("the service goes on as it is: {}", reloaded.error().message());
}

control::ReloadReport ReloadApi::describe(const config::Service& next, const ReloadPlan& plan,
                                          const std::string& file) const {
  control::ReloadReport report;
  report.service = supervisor_.status().name;
  report.file = file;
  report.is_changed = !plan.is_empty();
  report.restart_needed = plan.restart_tables;
  report.children = list_changes(next, plan);
  report.differences = plan.differences;
  return report;
}

std::vector<control::ReloadedChild> ReloadApi::list_changes(const config::Service& next,
                                                            const ReloadPlan& plan) const {
  std::vector<control::ReloadedChild> changes;
  for (const config::Role role :
       {config::Role::Init, config::Role::Adapter, config::Role::Ambassador, config::Role::Sidecar,
        config::Role::App}) {
    for (const config::Child& child : next.children) {
      if (child.role != role) continue;
      const auto change = plan.replan.changes.find(child.name);
      const bool is_new = change == plan.replan.changes.end();
      control::ReloadedChild one{child.name, std::string(config::name_of(role)),
                                 is_new ? "start" : std::string(word_of(change->second)),
                                 std::nullopt};
      if (starts_anew(one)) {
        one.usually_ready_after = last_time_to_ready(supervisor_.history(), child.name);
      }
      changes.push_back(std::move(one));
    }
  }
  for (const std::string& name : plan.removed) changes.push_back({name, "", "stop", std::nullopt});
  return changes;
}

bool ReloadApi::answer(const Waiter& waiter, const core::ServiceStatus& status) const {
  for (const core::ChildStatus& child : status.children) {
    const auto before = waiter.generations_before.find(child.name);
    const bool is_newer =
        before == waiter.generations_before.end() || child.generation > before->second;
    const bool has_failed = child.state == ChildState::Failed || child.state == ChildState::Backoff;
    const bool is_concerned =
        std::any_of(waiter.report.children.begin(), waiter.report.children.end(),
                    [&](const auto& one) { return one.name == child.name && starts_anew(one); });
    if (!is_concerned || !is_newer || !has_failed) continue;
    waiter.reply.error(409, fmt::format("taken over, but {}: {}; `pillion why {} {}` says more",
                                        child.name, child.why, status.name, child.name));
    return true;
  }
  if (supervisor_.is_reloading()) return false;
  waiter.reply.json(200, control::to_json(waiter.report));
  return true;
}

void ReloadApi::on_change() {
  if (waiters_.empty()) return;
  const core::ServiceStatus status = supervisor_.status();
  std::erase_if(waiters_, [&](const Waiter& waiter) { return answer(waiter, status); });
}

}  // namespace pillion::supervisor::host
