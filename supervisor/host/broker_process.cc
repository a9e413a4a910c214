#include "supervisor/host/broker_process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kStable = std::chrono::seconds(10);
constexpr auto kDelayBase = std::chrono::milliseconds(20);
constexpr auto kDelayMax = std::chrono::milliseconds(1000);
constexpr auto kStopMax = std::chrono::milliseconds(500);

// At once the first time; a broker that cannot live must not eat the machine.
Duration delay_after(int failures) {
  if (failures <= 1) return Duration::zero();
  return std::min<Duration>(kDelayBase * (1 << std::min(failures - 1, 10)), kDelayMax);
}

std::string describe_end(int wait_status) {
  if (WIFSIGNALED(wait_status))
    return fmt::format("was killed by signal {}", WTERMSIG(wait_status));
  return fmt::format("exited with {}", WEXITSTATUS(wait_status));
}

}  // namespace

BrokerProcess::BrokerProcess(Loop& loop, ProcessHost& processes, Cgroups& cgroups)
    : loop_(loop), processes_(processes), cgroups_(cgroups), later_(loop) {}

BrokerProcess::~BrokerProcess() {
  if (!process_) return;
  processes_.send_signal(*process_, SIGKILL);
  processes_.forget(*process_);
}

void BrokerProcess::start(SpawnPlan plan) {
  plan_ = std::move(plan);
  launch();
}

void BrokerProcess::launch() {
  // Our pid tells it from the groups of a supervisor before us.
  leaf_ = fmt::format("broker.{}.{}", ::getpid(), ++starts_);
  started_at_ = loop_.now();
  auto made = cgroups_.create(leaf_, {});
  auto entry = made ? cgroups_.entry(leaf_) : Result<CgroupEntry>(fail(made.error()));
  Result<ProcessId> process = fail("not started");
  if (entry) {
    plan_.cgroup = &*entry;
    ProcessEvents events;
    events.on_started = [](std::optional<SpawnFailure> failure, const std::string& text) {
      if (failure) log::error("cannot start the socket broker: {}", text);
    };
    events.on_exit = [this](int wait_status) { on_exit(wait_status); };
    process = processes_.start(plan_, "net/broker", 0, leaf_, std::move(events));
    plan_.cgroup = nullptr;
  } else {
    process = fail(entry.error());
  }
  if (process) {
    process_ = *process;
    return;
  }
  log::error("cannot start the socket broker: {}", process.error().message());
  cgroups_.remove(leaf_);
  later_.start(delay_after(++failures_ + 1), [this] { launch(); });
}

void BrokerProcess::on_exit(int wait_status) {
  processes_.acknowledge(*process_);
  process_.reset();
  cgroups_.remove(leaf_);
  if (on_stopped_) return on_gone();
  failures_ = loop_.now() - started_at_ > kStable ? 1 : failures_ + 1;
  const Duration delay = delay_after(failures_);
  log::warn("the socket broker {}; starting it again", describe_end(wait_status));
  if (delay == Duration::zero()) return launch();
  later_.start(delay, [this] { launch(); });
}

void BrokerProcess::on_gone() {
  later_.stop();
  const auto then = std::move(on_stopped_);
  on_stopped_ = nullptr;
  then();
}

void BrokerProcess::stop(std::function<void()> then) {
  on_stopped_ = std::move(then);
  if (process_) processes_.send_signal(*process_, SIGKILL);
  // A process that does not die of SIGKILL is the keeper's to bury.
  later_.start(process_ ? Duration(kStopMax) : Duration::zero(), [this] {
    if (process_) processes_.forget(*process_);
    process_.reset();
    on_gone();
  });
}

}  // namespace pillion::supervisor::host
