// The view as a plan; carried out by tests/integration/supervisor_hardening.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "supervisor/sandbox/view.h"

using namespace pillion;
using namespace pillion::supervisor::sandbox;

namespace {

using Steps = std::vector<ViewStep>;

std::ptrdiff_t find(const Steps& steps, ViewAction action, const std::string& target) {
  const auto found = std::find_if(steps.begin(), steps.end(), [&](const ViewStep& step) {
    return step.action == action &&
           (action == ViewAction::Open ? step.source : step.target) == target;
  });
  return found == steps.end() ? -1 : found - steps.begin();
}

struct Directory {
  std::string path;
  Directory() {
    char name[] = "/tmp/pillion-view-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() {
    ::unlink((path + "/program").c_str());
    ::rmdir(path.c_str());
  }
};

}  // namespace

TEST_CASE("what the child uses in /tmp is opened before, and attached after, /tmp is covered") {
  const Directory directory;
  std::ofstream(directory.path + "/program") << "x";
  SandboxFacts facts;
  facts.used_paths = {directory.path + "/program", directory.path, "/tmp", "/tmp/no-such-thing"};
  const Steps steps = plan_view(config::Hardening{}, facts);
  const auto open = find(steps, ViewAction::Open, directory.path);
  const auto cover = find(steps, ViewAction::Tmpfs, "/tmp");
  const auto make = find(steps, ViewAction::MakeDirectory, directory.path);
  const auto attach = find(steps, ViewAction::Attach, directory.path);
  CHECK(open >= 0);
  CHECK(open < cover);
  CHECK(cover < make);
  CHECK(make < attach);
  CHECK(steps[static_cast<std::size_t>(attach)].is_required);
  CHECK(find(steps, ViewAction::Open, "/tmp") < 0);
  CHECK(find(steps, ViewAction::Open, "/tmp/no-such-thing") < 0);
}

TEST_CASE("each part of the view is planned only when it is wanted") {
  config::Hardening hardening;
  hardening.private_tmp = hardening.private_devices = false;
  hardening.read_only_system = hardening.hide_processes = false;
  CHECK(plan_view(hardening, {}).empty());
  hardening.read_only_system = true;
  const Steps steps = plan_view(hardening, {});
  CHECK(find(steps, ViewAction::ReadOnly, "/usr") >= 0);
  CHECK(find(steps, ViewAction::ReadOnly, "/proc/sys") >= 0);
  CHECK(find(steps, ViewAction::Tmpfs, "/tmp") < 0);
}

TEST_CASE("a pid namespace has a /proc of its own even when nothing is hidden") {
  config::Hardening hardening;
  hardening.hide_processes = false;
  CHECK(find(plan_view(hardening, {}), ViewAction::Proc, "/proc") < 0);
  hardening.pid_namespace = config::PidNamespace::Child;
  CHECK(find(plan_view(hardening, {}), ViewAction::Proc, "/proc") >= 0);
}
