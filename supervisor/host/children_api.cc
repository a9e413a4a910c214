#include "supervisor/host/children_api.h"

#include <fmt/format.h>

#include <algorithm>

#include "supervisor/host/request_body.h"
#include "supervisor/host/supervisor.h"

namespace pillion::supervisor::host {
namespace {

using core::ChildState;
using core::ChildStatus;
using Json = nlohmann::ordered_json;

constexpr Duration kWaitMax = std::chrono::minutes(10);

bool is_service_stopping(const core::ServiceStatus& status) {
  return status.stop_deadline_in.has_value() || status.state == core::ServiceState::Stopped;
}

const ChildStatus* find_child(const core::ServiceStatus& status, std::string_view name) {
  for (const ChildStatus& child : status.children) {
    if (child.name == name && !child.is_leaving) return &child;
  }
  return nullptr;
}

const ChildStatus* find_app(const core::ServiceStatus& status) {
  for (const ChildStatus& child : status.children) {
    if (child.role == core::Role::App && !child.is_leaving && !child.is_candidate) return &child;
  }
  return nullptr;
}

std::string describe(const ChildStatus& child) {
  const Json json = {{"child", child.name},
                     {"state", core::to_string(child.state)},
                     {"ready", child.is_ready},
                     {"generation", child.generation}};
  return json.dump();
}

std::string list_children(const core::ServiceStatus& status) {
  std::string names;
  for (const ChildStatus& child : status.children) {
    names += (names.empty() ? "" : ", ") + child.name;
  }
  return names;
}

bool is_at_rest(const ChildStatus& child) {
  return child.state == ChildState::Stopped || child.state == ChildState::Completed ||
         child.state == ChildState::Failed;
}

// It will not come up by itself, or has just failed to.
bool has_failed(const ChildStatus& child) {
  return child.state == ChildState::Failed || child.state == ChildState::Backoff ||
         child.state == ChildState::Stuck;
}

}  // namespace

ChildrenApi::ChildrenApi(Loop& loop, control::Api& api, Supervisor& supervisor)
    : loop_(loop), supervisor_(supervisor) {
  add_route(api, "start", Wish::Start);
  add_route(api, "stop", Wish::Stop);
  add_route(api, "restart", Wish::Restart);
  add_route(api, "retry", Wish::Retry);
  api.add("POST", "/v1/restart",
          [this](const control::ApiRequest& request, control::Responder reply) {
            restart_service(request, reply);
          });
}

void ChildrenApi::add_route(control::Api& api, const std::string& word, Wish wish) {
  api.add("POST", "/v1/children/{child}/" + word,
          [this, wish](const control::ApiRequest& request, control::Responder reply) {
            handle(wish, request, reply);
          });
}

void ChildrenApi::handle(Wish wish, const control::ApiRequest& request,
                         const control::Responder& reply) {
  const auto body = parse_body(request);
  if (!body) return reply.error(400, body.error().message());
  const auto grace = read_duration(*body, "grace");
  if (!grace) return reply.error(400, grace.error().message());
  const core::ServiceStatus status = supervisor_.status();
  const ChildStatus* child = find_child(status, request.parameter("child"));
  if (!child) {
    return reply.error(404, fmt::format("{} has no child \"{}\"; there are: {}", status.name,
                                        request.parameter("child"), list_children(status)));
  }
  if (is_service_stopping(status)) {
    return reply.error(409, status.name + " is stopping; nothing can be started or stopped apart");
  }
  const bool is_done = child->role == core::Role::Init && child->state == ChildState::Completed;
  if (is_done && wish != Wish::Stop) {
    return reply.error(409,
                       fmt::format("{} is an init task and has done its work; a restart of the "
                                   "service (`pillion restart {}`) runs it again",
                                   child->name, status.name));
  }
  if (wish == Wish::Retry && child->state != ChildState::Backoff &&
      child->state != ChildState::Failed) {
    return reply.error(409, fmt::format("{} is {}: there is nothing to retry", child->name,
                                        core::to_string(child->state)));
  }
  const core::ChildId id = child->id;
  const bool waits = request.has_flag("wait");
  if (waits) wait(wish, *child, false, request, reply);
  switch (wish) {
    case Wish::Start: supervisor_.request(core::StartChildRequested{id}); break;
    case Wish::Stop: supervisor_.request(core::StopChildRequested{id, *grace}); break;
    case Wish::Restart: supervisor_.request(core::RestartRequested{id}); break;
    case Wish::Retry: supervisor_.request(core::RetryRequested{id}); break;
  }
  if (!waits) reply.json(202, R"({"accepted":true})");
}

void ChildrenApi::restart_service(const control::ApiRequest& request,
                                  const control::Responder& reply) {
  const core::ServiceStatus status = supervisor_.status();
  if (is_service_stopping(status)) return reply.error(409, status.name + " is stopping already");
  const ChildStatus* app = find_app(status);
  const bool waits = request.has_flag("wait");
  if (waits && app) wait(Wish::Restart, *app, true, request, reply);
  supervisor_.request(core::RestartServiceRequested{"pillion restart"});
  if (!waits) reply.json(202, R"({"accepted":true})");
}

void ChildrenApi::wait(Wish wish, const ChildStatus& child, bool is_service,
                       const control::ApiRequest& request, const control::Responder& reply) {
  const auto body = parse_body(request);
  const auto timeout =
      body ? read_duration(*body, "timeout") : Result<std::optional<Duration>>(std::nullopt);
  if (!timeout) return reply.error(400, timeout.error().message());
  // A retry or start counts from the generation that failed.
  waiters_.push_back({wish, is_service ? "" : child.name, child.generation, reply, Timer(loop_)});
  const auto waiter = std::prev(waiters_.end());
  waiter->timeout.start(std::min(timeout->value_or(kWaitMax), kWaitMax), [this, waiter] {
    const core::ServiceStatus status = supervisor_.status();
    waiter->reply.error(
        504,
        fmt::format("not yet: {}", status.why.empty() ? "`pillion why` says more" : status.why));
    waiters_.erase(waiter);
  });
}

bool ChildrenApi::answer(const Waiter& waiter, const core::ServiceStatus& status) {
  const bool is_service = waiter.child.empty();
  const ChildStatus* child = is_service ? find_app(status) : find_child(status, waiter.child);
  if (!child) {
    waiter.reply.error(409, waiter.child + " is not in the configuration any more");
    return true;
  }
  if (waiter.wish == Wish::Stop) {
    if (is_at_rest(*child)) {
      waiter.reply.json(200, describe(*child));
      return true;
    }
    if (child->state != ChildState::Stuck) return false;
    waiter.reply.error(409, child->name + " cannot be ended: " + child->why);
    return true;
  }
  const bool is_new =
      waiter.wish == Wish::Start ? true : child->generation > waiter.generation_before;
  if (is_new && child->is_ready && (!is_service || status.is_ready)) {
    waiter.reply.json(200, describe(*child));
    return true;
  }
  const bool has_tried = child->generation > waiter.generation_before;
  if (!has_tried || !has_failed(*child)) return false;
  waiter.reply.error(409, fmt::format("{}: {}; `pillion why {} {}` says more", child->name,
                                      child->why, status.name, child->name));
  return true;
}

void ChildrenApi::on_change() {
  if (waiters_.empty()) return;
  const core::ServiceStatus status = supervisor_.status();
  std::erase_if(waiters_, [&](const Waiter& waiter) { return answer(waiter, status); });
}

}  // namespace pillion::supervisor::host
