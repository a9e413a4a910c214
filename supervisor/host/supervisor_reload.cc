// The part of the supervisor that takes the service from one accepted file to the next.
#include <utility>

#include "runtime/log.h"
#include "runtime/start_memory.h"
#include "supervisor/host/supervisor.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kSettleTime = std::chrono::seconds(1);

}  // namespace

ReloadPlan Supervisor::plan_reload(const config::Service& next) const {
  return make_reload_plan(service_, completed(next), paths_);
}

Result<void> Supervisor::reload(config::Service next) {
  ReloadPlan plan = plan_reload(next);
  if (auto opened = setup_.prepare_change(completed(next)); !opened) return opened;
  if (auto staged = accepted_.stage(std::move(next)); !staged) {
    setup_.drop_change();
    return staged;
  }
  is_plan_changed_ = false;
  reload_refusal_ = "the service has ended";
  request(std::move(plan.replan));
  if (is_plan_changed_) return {};
  accepted_.drop_staged();
  setup_.drop_change();
  return fail(reload_refusal_);
}

void Supervisor::change_plan() {
  if (auto accepted = accepted_.accept(); !accepted) {
    log::error("a restart of the supervisor would undo the reload: {}", accepted.error().message());
  }
  const config::Service before = std::exchange(service_, completed(accepted_.service()));
  resources_.follow_file(before);
  is_plan_changed_ = true;
  is_reloading_ = true;
  recapture();
}

void Supervisor::recapture() {
  setup_.apply_change([this](Result<void> captured) {
    if (captured) return note("capture_live", "the capture rules are those of the new file");
    log::error("the capture rules are still those of the old file: {}", captured.error().message());
  });
}

void Supervisor::use_plan(core::ChildId slot) {
  const config::Child* next = service_.find(core_->plan().children[slot].name);
  if (!next) return;
  const config::Child before = slot < slots_.size() ? slots_.at(slot) : *next;
  slots_.set(slot, deployment_.fitted(slot, *next));
  if (!children_.has_channels(slot)) {
    auto opened = children_.open_channels(slot);
    if (!opened) log::error("{}", opened.error().message());
  }
  children_.use_configuration(slot, before);
}

void Supervisor::finish_reload() {
  is_reloading_ = false;
  settled_.start(kSettleTime, [] { return_start_memory(); });
  accepted_.forget_previous();
  std::vector<std::string> names;
  for (core::ChildId slot = 0; slot < slots_.size(); ++slot) names.push_back(slots_.at(slot).name);
  setup_.forget_children(names);
}

}  // namespace pillion::supervisor::host
