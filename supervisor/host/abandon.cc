#include "supervisor/host/abandon.h"

#include <unistd.h>

#include <filesystem>

#include "runtime/log.h"
#include "supervisor/host/cgroup_detect.h"
#include "supervisor/host/process_host.h"
#include "supervisor/host/service_setup.h"

namespace pillion::supervisor::host {
namespace {

constexpr int kExitGaveUp = 70;
constexpr auto kEmptyPeriod = std::chrono::milliseconds(20);
constexpr int kEmptyRoundsMax = 250;

}  // namespace

int abandon_service(Loop& loop, KeeperClient& keeper, const config::Service& service,
                    const ServicePaths& paths) {
  log::error("giving up: removing what is left of the service");
  ProcessHost processes(loop, keeper);
  const auto cgroups = detect_cgroups(service.name(), keeper.keeper_pid());
  ServiceSetup setup(loop, keeper, processes, *cgroups, service, paths);
  keeper.start(
      loop, [&](const ChildRecord& record) { processes.on_exit(record); },
      [](int, std::uint64_t) {});
  for (const ChildRecord& record : keeper.list_children()) keeper.acknowledge(record.id);
  setup.adopt();

  Timer timer(loop);
  int rounds = 0;
  timer.start(Duration::zero(), kEmptyPeriod, [&] {
    bool is_empty = true;
    for (const std::string& leaf : cgroups->leaves()) {
      cgroups->kill(leaf);
      is_empty = cgroups->remove(leaf) && is_empty;
    }
    if (!is_empty && ++rounds < kEmptyRoundsMax) return;
    timer.stop();
    setup.remove([&] { loop.stop(); });
  });
  loop.run();
  cgroups->remove_base();
  std::error_code ignored;
  // One for each slot: reloads and deploys add some.
  for (const auto& entry : std::filesystem::directory_iterator(paths.runtime, ignored)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("notify.")) ::unlink(entry.path().c_str());
  }
  ::unlink(paths.state_file().c_str());
  std::filesystem::remove_all(paths.runtime + "/deploy", ignored);
  ::unlink((paths.accepted_directory() + "/" + service.name() + ".toml").c_str());
  ::rmdir(paths.accepted_directory().c_str());
  return kExitGaveUp;
}

}  // namespace pillion::supervisor::host
