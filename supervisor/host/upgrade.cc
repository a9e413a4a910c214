#include "supervisor/host/upgrade.h"

#include <cstdio>

#include <fmt/format.h>

#include "config/diagnostic.h"
#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/fd.h"
#include "supervisor/core/snapshot.h"
#include "supervisor/host/child_environment.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kCheckTimeout = std::chrono::seconds(10);

}  // namespace

const char* program_version() { return PILLION_VERSION; }

Result<void> UpgradeCheck::start(const std::string& accepted, const std::string& state,
                                 OnDone on_done) {
  if (on_done_) return fail("an upgrade is under way already");
  on_done_ = std::move(on_done);
  SpawnPlan plan;
  plan.argv = {program_directory() + "/pillion", "supervise", accepted, "--check-takeover", state};
  plan.env = {{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}};
  plan.drops_privileges = false;
  command_ = std::make_unique<CommandRun>(loop_, processes_, cgroups_, "upgrade/check",
                                          fmt::format("upgrade.{}", ++count_));
  command_->start(std::move(plan), {}, kCheckTimeout, [this](CommandResult result) {
    loop_.defer_delete(std::move(command_));
    on_supervisor_checked(result);
  });
  return {};
}

void UpgradeCheck::on_supervisor_checked(const CommandResult& result) {
  const auto finish = [this](Result<void> verdict) {
    const auto on_done = std::move(on_done_);
    on_done_ = nullptr;
    on_done(std::move(verdict));
  };
  if (!result.is_success()) {
    return finish(
        fail("the installed pillion cannot continue this service: it " + result.describe()));
  }
  if (auto asked = keeper_.check_upgrade(finish); !asked) finish(fail(asked.error()));
}

int check_takeover(const std::string& accepted, const std::string& state) {
  const auto loaded = config::load_service(accepted, config::system_load_options());
  if (!loaded.value) {
    std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
    return 78;
  }
  auto text = read_file(state);
  auto snapshot = text ? core::parse_snapshot(*text) : fail(text.error());
  if (snapshot) return 0;
  std::fprintf(stderr, "cannot use %s: %s\n", state.c_str(), snapshot.error().message().c_str());
  return 1;
}

}  // namespace pillion::supervisor::host
