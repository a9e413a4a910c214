// Longer than 600 lines because the supervisor's actions and events meet here, one short function
// each.
#include "supervisor/host/supervisor.h"

#include <cxxabi.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <typeinfo>

#include <fmt/format.h>

#include "runtime/file_replacement.h"
#include "runtime/log.h"
#include "runtime/start_memory.h"
#include "supervisor/host/cgroup_detect.h"
#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {
namespace {

std::string read_boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id");
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

constexpr auto kAlivePeriod = std::chrono::seconds(10);
constexpr auto kSettleTime = std::chrono::seconds(1);
constexpr auto kAlivePatience = std::chrono::seconds(30);

// The keeper is less patient where its own parent's watchdog is.
Duration alive_period() {
  const char* watchdog = ::getenv("WATCHDOG_USEC");
  const auto period = std::chrono::microseconds(watchdog ? std::strtoll(watchdog, nullptr, 10) : 0);
  return period.count() <= 0 ? Duration(kAlivePeriod)
                             : std::min<Duration>(kAlivePeriod, period / 3);
}

// The last act of a service. A process that was killed a moment ago, or failed before its exec, may
// still be in its group, on a busy machine for long.
bool remove_cgroups(Cgroups& cgroups) {
  for (int round = 0; round < 400; ++round) {
    if (cgroups.remove_base()) return true;
    for (const std::string& leaf : cgroups.leaves()) {
      cgroups.kill(leaf);
      cgroups.remove(leaf);
    }
    ::usleep(5000);
  }
  return cgroups.remove_base();
}

// For the answer to whoever asked for the upgrade.
constexpr auto kMakeWayDelay = std::chrono::milliseconds(50);

std::string name_of_signal(int number) {
  if (const char* name = ::sigabbrev_np(number)) return std::string("SIG") + name;
  return number < SIGRTMIN ? "" : fmt::format("SIGRTMIN+{}", number - SIGRTMIN);
}

// 0 when there is none of that name.
int number_of_signal(std::string_view name) {
  for (int number = 1; number <= SIGRTMAX; ++number) {
    if (name_of_signal(number) == name) return number;
  }
  return 0;
}

template<class T>
std::string short_type_name() {
  int status = 0;
  char* name = abi::__cxa_demangle(typeid(T).name(), nullptr, nullptr, &status);
  const std::string text = name != nullptr ? name : "?";
  std::free(name);
  return text.substr(text.rfind(':') + 1);
}

// "before:Spawn", "after:Exited", …
template<class Variant>
void failpoint_around(const char* when, const Variant& variant) {
  if (!failpoints_are_armed()) return;
  std::visit([&]<class T>(const T&) { reach_failpoint(std::string(when) + short_type_name<T>()); },
             variant);
}

core::ServicePlan plan_of(const config::Service& service) {
  core::ServicePlan plan = core::make_plan(service);
  // Volumes, listeners and cgroups are made in the same step, also where there is no network.
  plan.has_network = true;
  return plan;
}

}  // namespace

// Carries out one action; called for each in order.
struct Supervisor::Carrier {
  Supervisor& self;

  void operator()(const core::CreateNetwork&) {
    self.setup_.create([this_ = &self](Result<void> result) {
      for (const auto& remark : this_->setup_.remarks()) log::warn("{}", remark);
      for (const auto& remark : this_->resources_.remarks()) log::warn("{}", remark);
      if (result) {
        this_->note("network_ready", "namespaces, volumes and listeners are there");
        this_->post(core::NetworkCreated{});
      } else {
        this_->post(core::NetworkFailed{result.error().message()});
      }
    });
  }
  void operator()(const core::EnableCapture&) {
    self.note("capture_enabling", "directing the app's traffic through the proxy");
    self.setup_.enable_capture([this_ = &self](Result<void> result) {
      if (result) {
        this_->note("capture_live", "the app's traffic goes through the proxy");
        this_->post(core::CaptureLive{});
      } else {
        this_->post(core::CaptureFailed{result.error().message()});
      }
    });
  }
  void operator()(const core::RemoveNetwork&) {
    self.probes_.close();
    self.note("network_removing", "removing namespaces, volumes and listeners");
    self.setup_.remove([this_ = &self] {
      this_->note("network_removed", "namespaces, volumes and listeners are gone");
      this_->post(core::NetworkRemoved{});
    });
  }
  void operator()(const core::WriteState&) { self.write_state(); }
  void operator()(const core::Spawn& action) {
    self.deployment_.observe(action);
    self.children_.spawn(action.child, action.generation);
  }
  void operator()(const core::WatchGate& action) {
    self.children_.watch_gate(action.child, action.generation);
  }
  void operator()(const core::RunProbe& action) {
    self.metrics_.on_probe_started(action, self.now());
    self.probes_.run(action);
  }
  void operator()(const core::CancelProbe& action) { self.probes_.cancel(action); }
  void operator()(const core::RunHook& action) { self.probes_.run(action); }
  void operator()(const core::CancelHook& action) { self.probes_.cancel(action); }
  void operator()(const core::BeginDrain& action) { self.probes_.begin_drain(action); }
  void operator()(const core::SendSignal& action) {
    const std::string& name = self.slots_.at(action.child).name;
    self.resources_.generation_signalled(leaf_name(name, action.generation), action.signal_number);
    self.children_.send_signal(action);
  }
  void operator()(const core::KillCgroup& action) {
    self.children_.kill(action.child, action.generation);
  }
  void operator()(const core::ReleaseGeneration& action) {
    self.children_.release(action.child, action.generation);
  }
  void operator()(const core::PublishReadiness& action) { self.publish(action.is_ready); }
  void operator()(const core::Report& action) { self.keep(action); }
  void operator()(const core::Finish& action) { self.finish(action); }
  void operator()(const core::PlanChanged&) { self.change_plan(); }
  void operator()(const core::UsePlan& action) {
    if (action.is_candidate) return self.deployment_.use(action);
    self.use_plan(action.child);
  }
  void operator()(const core::ReloadChild& action) { self.children_.reload(action); }
  void operator()(const core::ShiftTraffic& action) { self.deployment_.shift(action); }
  void operator()(const core::PromoteApp& action) { self.deployment_.promote(action); }
  void operator()(const core::EndDeploy& action) {
    self.deployment_.end(action, self.core_->status(self.now()));
  }
};

Supervisor::Supervisor(Loop& loop, KeeperClient& keeper, AcceptedFile accepted, ServicePaths paths,
                       const RunOptions& options)
    : loop_(loop),
      keeper_(keeper),
      accepted_(std::move(accepted)),
      service_(completed(accepted_.service())),
      slots_(service_),
      paths_(std::move(paths)),
      history_(paths_.log + "/events.ndjson"),
      metrics_(service_.name()),
      processes_(loop, keeper),
      cgroups_(detect_cgroups(service_.name(), keeper.keeper_pid())),
      resources_(loop, *cgroups_, service_, paths_,
                 [this](const core::Report& report) { keep(report); }),
      setup_(loop, keeper, processes_, *cgroups_, service_, paths_),
      children_(loop, keeper, processes_, *cgroups_, resources_, setup_, service_, slots_, paths_,
                options.echoes_output, [this](core::Event event) { post(std::move(event)); }),
      probes_(loop, processes_, *cgroups_, setup_, children_, slots_,
              [this](core::Event event) { post(std::move(event)); }),
      deployment_(loop, setup_, children_, slots_, accepted_, service_, paths_,
                  [this](core::Event event) { post(std::move(event)); }),
      capture_guard_(
          service_, [this](ServiceSetup::OnDone done) { setup_.lift_capture(std::move(done)); },
          [this](ServiceSetup::OnDone done) { setup_.enable_capture(std::move(done)); }),
      wakeup_(loop),
      run_later_(loop),
      parent_(Notifier::from_environment()),
      state_file_(loop, keeper, paths_.state_file()),
      lends_terminal_(options.lends_terminal),
      boot_id_(read_boot_id()),
      alive_(loop),
      upgrade_check_(loop, keeper, processes_, *cgroups_),
      settled_(loop),
      make_way_(loop) {}

Supervisor::~Supervisor() = default;

void Supervisor::keep(const core::Report& report) {
  deployment_.observe(report);
  if (report.kind == core::EventKind::RequestRefused) refusal_ = report.text;
  using Level = core::Report::Level;
  control::EventRecord event{0, clock_.wall_now(), clock_.boot_time(), "", "", "", 0, "", {}};
  switch (report.level) {
    case Level::Debug: event.level = "debug"; break;
    case Level::Info: event.level = "info"; break;
    case Level::Warning: event.level = "warning"; break;
    case Level::Error: event.level = "error"; break;
  }
  event.kind = core::to_string(report.kind);
  event.child = report.child;
  event.generation = report.generation;
  event.text = report.text;
  event.fields = report.fields;
  record(std::move(event));
  if (report.kind == core::EventKind::ReloadRefused) reload_refusal_ = report.text;
  if (report.kind == core::EventKind::ReloadFinished) finish_reload();
  if (report.level == Level::Debug) log::debug("{}", report.text);
  if (report.level == Level::Info) log::info("{}", report.text);
  if (report.level == Level::Warning) log::warn("{}", report.text);
  if (report.level == Level::Error) log::error("{}", report.text);
}

void Supervisor::record(control::EventRecord event) {
  metrics_.on_record(event);
  history_.add(std::move(event));
}

void Supervisor::note(std::string kind, std::string text) {
  record({0,
          clock_.wall_now(),
          clock_.boot_time(),
          std::move(kind),
          "debug",
          "",
          0,
          std::move(text),
          {}});
}

Result<void> Supervisor::start() {
  if (auto made = make_directories(paths_.log, 0750); !made) {
    remarks_.push_back(fmt::format(
        "the children's output is not kept: {}; PILLION_LOG_DIR may name a directory that can be "
        "written",
        made.error().message()));
    log::warn("{}", remarks_.back());
  }
  auto snapshot = keeper_.restarts() > 0 ? read_snapshot() : std::nullopt;
  // What runs and is not known is ended before anything is started.
  if (keeper_.restarts() > 0 && !snapshot && !keeper_.list_children().empty()) snapshot.emplace();
  if (snapshot) {
    deployment_.restore(*snapshot);
    restore_slots(*snapshot);
    deployment_.fit_slots(*snapshot);
  } else {
    deployment_.prepare();
  }
  keeper_.begin_batch();
  for (core::ChildId slot = 0; slot < slots_.size(); ++slot) {
    if (auto opened = children_.open_channels(slot); !opened) return opened;
  }
  if (auto stored = keeper_.end_batch(); !stored) return stored;
  if (auto lent = lend_terminal(); !lent) return lent;
  log::info("{}", cgroups_->describe());
  children_.on_facts([this] { run_queue(); });
  read_past();
  resources_.start(keeper_.restarts() > 0);
  restore_or_create(snapshot);
  carry_out(core_->start(now()));
  keeper_.start(
      loop_, [this](const ChildRecord& record) { processes_.on_exit(record); },
      [this](int signal_number, std::uint64_t serial) { on_signal(signal_number, serial); });
  settled_.start(kSettleTime, [] { return_start_memory(); });
  alive_.start(Duration::zero(), alive_period(), [this] { keeper_.say_alive(kAlivePatience); });
  run_queue();
  return {};
}

// What the metrics must know from before this process.
void Supervisor::read_past() {
  for (const control::EventRecord* event : history_.select({})) metrics_.on_record(*event);
  const auto text = read_file(paths_.state + "/last-stop.json");
  if (!text) return;
  if (auto receipt = control::parse_receipt(*text)) metrics_.set_last_stop(std::move(*receipt));
}

Result<void> Supervisor::lend_terminal() {
  if (!lends_terminal_) return {};
  auto terminal = AppTerminal::create(loop_, keeper_, [this] { stop({}, "the terminal hung up"); });
  if (!terminal) return fail(terminal.error());
  terminal_ = std::move(*terminal);
  children_.lend_terminal(terminal_.get());
  return {};
}

// As Core::restore() will number them. What is about to be replaced or to leave goes by the file
// before the accepted one.
void Supervisor::restore_slots(const core::Snapshot& snapshot) {
  const auto previous = accepted_.load_previous();
  is_reloading_ = snapshot.is_reload_under_way;
  core::ChildId slot = 0;
  for (const std::string& name : core::slot_names(core::make_plan(service_), &snapshot)) {
    const bool is_old =
        slot < snapshot.children.size() && core::goes_by_old_plan(snapshot.children[slot]);
    const config::Child* found = is_old && previous ? previous->find(name) : nullptr;
    if (!found) found = service_.find(name);
    if (!found && previous) found = previous->find(name);
    config::Child child;
    child.name = name;
    slots_.set(slot++, found ? *found : child);
  }
}

void Supervisor::restore_or_create(const std::optional<core::Snapshot>& snapshot) {
  std::random_device random;
  const std::uint64_t seed = random();
  const auto children = keeper_.list_children();
  if (!snapshot) {
    note("service_preparing", "starting " + service_.name());
    core_ = std::make_unique<core::Core>(plan_of(service_), seed);
    return;
  }
  log::warn("the supervisor was started again; taking over the running children");
  setup_.adopt();
  if (is_reloading_) {  // it may have been cut short
    if (auto opened = setup_.prepare_change(service_); !opened) {
      log::error("{}", opened.error().message());
    }
    recapture();
  }
  capture_guard_.assume_lifted();  // at worst the same rules are loaded once more
  std::vector<core::Survivor> survivors;
  for (const ChildRecord& record : children) {
    if (auto survivor = children_.adopt(record, *snapshot))
      survivors.push_back(std::move(*survivor));
  }
  children_.end_adoption();
  last_signal_ = snapshot->last_signal;
  core::ServicePlan plan = plan_of(service_);
  plan.candidate = deployment_.candidate();
  core_ = std::make_unique<core::Core>(
      core::Core::restore(std::move(plan), seed, *snapshot, survivors, now(), clock_.boot_time()));
}

std::optional<core::Snapshot> Supervisor::read_snapshot() {
  const auto text = state_file_.read();
  if (!text) return std::nullopt;
  auto snapshot = core::parse_snapshot(*text);
  if (!snapshot) {
    log::error("cannot use {}: {}", paths_.state_file(), snapshot.error().message());
    return std::nullopt;
  }
  if (snapshot->boot_id != boot_id_) return std::nullopt;
  return *snapshot;
}

void Supervisor::write_state() {
  core::Snapshot snapshot = core_->snapshot(now(), clock_.boot_time());
  snapshot.boot_id = boot_id_;
  snapshot.last_signal = last_signal_;
  state_file_.write(core::to_json(snapshot));
}

void Supervisor::post(core::Event event) {
  queue_.push_back(std::move(event));
  if (!is_carrying_out_ && core_ && !run_later_.is_active()) {
    run_later_.start(Duration::zero(), [this] { run_queue(); });
  }
}

void Supervisor::run_queue() {
  if (is_carrying_out_) return;
  while (!queue_.empty()) {
    const core::Event event = std::move(queue_.front());
    queue_.pop_front();
    failpoint_around("event:", event);
    if (const auto* probe = std::get_if<core::ProbeFinished>(&event)) {
      metrics_.on_probe_finished(slots_.at(probe->child).name, *probe, now());
    }
    carry_out(core_->handle(event, now()));
  }
  carry_out(core_->advance(now()));
  if (!queue_.empty()) return post_queue();
  arm_wakeup();
}

// Events that actions caused are handled in a later round, so that a spawn that fails at once in a
// circle cannot starve the loop.
void Supervisor::post_queue() {
  run_later_.start(Duration::zero(), [this] { run_queue(); });
}

void Supervisor::carry_out(const core::Actions& actions) {
  is_carrying_out_ = true;
  for (const core::Action& action : actions) {
    failpoint_around("before:", action);
    std::visit(Carrier{*this}, action);
    failpoint_around("after:", action);
  }
  is_carrying_out_ = false;
  if (actions.empty()) return;
  tell_parent();
  if (capture_guard_.is_wanted()) capture_guard_.observe(core_->status(now()));
  if (on_change_) on_change_();
}

void Supervisor::arm_wakeup() {
  const auto at = core_->next_wakeup();
  if (!at || core_->is_finished()) return wakeup_.stop();
  wakeup_.start(std::max(*at - now(), Duration::zero()), [this] { run_queue(); });
}

// A signal is acknowledged when what it caused is on disk; one that an earlier supervisor had
// handled but not acknowledged must not count twice.
void Supervisor::on_signal(int signal_number, std::uint64_t serial) {
  failpoint("signal");
  if (serial == 0 || serial > last_signal_) {
    last_signal_ = std::max(last_signal_, serial);
    handle_signal(signal_number);
    run_queue();
  }
  failpoint("signal handled");
  keeper_.acknowledge_signal(serial);
}

void Supervisor::handle_signal(int signal_number) {
  const auto& map = service_.settings.signal_map;
  if (const auto mapped = map.find(name_of_signal(signal_number)); mapped != map.end()) {
    if (const int target = number_of_signal(mapped->second))
      children_.signal_app(app_slot(), target);
    return;  // "ignore" is no signal
  }
  if (signal_number == SIGWINCH && terminal_) return terminal_->resize();
  if (signal_number != SIGTERM && signal_number != SIGINT &&
      (signal_number != SIGHUP || keeper_.keeper_pid() == 1)) {
    children_.signal_app(app_slot(), signal_number);
    return;
  }
  if (signal_number == SIGHUP) {
    if (on_hangup_) on_hangup_();
    return;
  }
  core::StopRequested stop;
  stop.escalates = true;
  stop.reason = signal_number == SIGINT ? "SIGINT" : "SIGTERM";
  post(stop);
}

void Supervisor::stop(std::optional<Duration> grace, std::string reason) {
  core::StopRequested stop;
  stop.grace = grace;
  stop.reason = std::move(reason);
  request(stop);
}

void Supervisor::request(core::Event event) {
  post(std::move(event));
  run_queue();
}

core::ChildId Supervisor::app_slot() const {
  for (const core::ChildStatus& child : core_->status(now()).children) {
    if (child.role == core::Role::App && !child.is_candidate && !child.is_leaving) return child.id;
  }
  return 0;
}

Result<std::uint64_t> Supervisor::deploy(const DeployWish& wish) {
  auto event = deployment_.prepare(wish, status());
  if (!event) return fail(event.error());
  refusal_.clear();
  request(std::move(*event));
  if (refusal_.empty()) return deployment_.record().count;
  deployment_.discard();
  return fail(refusal_);
}

Result<void> Supervisor::cancel_deploy() {
  const DeployPhase phase = deployment_.phase();
  if (phase == DeployPhase::None) return fail("no deploy is under way");
  refusal_.clear();
  request(core::DeployCancelled{});
  if (!refusal_.empty()) return fail(refusal_);
  return {};
}

void Supervisor::upgrade(std::function<void(Result<void>)> on_checked) {
  if (core_->is_finished()) return on_checked(fail("the service has ended"));
  write_state();
  const std::string accepted = paths_.accepted_directory() + "/" + service_.name() + ".toml";
  auto started =
      upgrade_check_.start(accepted, paths_.state_file(), [this, on_checked](Result<void> verdict) {
        if (verdict) {
          log::info("upgrading: the installed programs take over, no child is touched");
          make_way_.start(kMakeWayDelay, [this] { make_way(); });
        } else {
          log::error("no upgrade: {}", verdict.error().message());
        }
        on_checked(std::move(verdict));
      });
  if (!started) on_checked(fail(started.error()));
}

// As if killed, which takes nothing from anybody, but announced.
void Supervisor::make_way() {
  write_state();
  auto executable = open_file("/proc/self/exe", O_RDONLY);
  auto told = keeper_.upgrade(executable ? executable->get() : -1);
  if (told) ::_exit(0);
  log::error("no upgrade: {}", told.error().message());
}

control::StatusReport Supervisor::report() {
  control::StatusReport report;
  report.service = core_->status(now());
  for (const core::ChildStatus& child : report.service.children) {
    report.usage.push_back(resources_.usage_of(slots_.at(child.id), child.generation));
    if (const std::uint64_t dropped = children_.dropped_records(child.name)) {
      report.usage.back().notes.push_back(
          fmt::format("{} records of its output were dropped: its log could not take them "
                      "(output_log)",
                      dropped));
    }
  }
  report.warnings = remarks_;
  for (std::string& remark : setup_.remarks()) report.warnings.push_back(std::move(remark));
  for (std::string& remark : resources_.remarks()) report.warnings.push_back(std::move(remark));
  report.network =
      describe_network(service_.network, setup_.network_record(), capture_guard_.is_lifted());
  const std::string hardening = children_.hardening_remark();
  if (!hardening.empty()) report.warnings.push_back(hardening);
  report.log_directory = paths_.log;
  report.supervisor_pid = ::getpid();
  return report;
}

ServiceFacts Supervisor::facts() {
  ServiceFacts facts;
  facts.status = core_->status(now());
  facts.supervisor_restarts = keeper_.restarts();
  for (const core::ChildStatus& child : facts.status.children) {
    if (child.is_candidate || child.is_leaving) continue;
    facts.children.push_back(resources_.facts_of(slots_.at(child.id), child));
    facts.children.back().dropped_records = children_.dropped_records(child.name);
  }
  return facts;
}

std::string Supervisor::render_metrics() { return metrics_.render(facts()); }

std::vector<ChildEndpoint> Supervisor::metrics_endpoints() const {
  std::vector<ChildEndpoint> endpoints;
  for (const core::ChildStatus& child : core_->status(now()).children) {
    if (child.is_candidate || child.is_leaving) continue;
    auto endpoint = metrics_endpoint_of(slots_.at(child.id), paths_, setup_);
    if (!endpoint) continue;
    endpoint->is_running = child.pid != 0;
    endpoints.push_back(std::move(*endpoint));
  }
  return endpoints;
}

void Supervisor::publish(bool is_ready) {
  if (is_ready && !has_told_ready_) {
    parent_.ready();
    has_told_ready_ = true;
  }
  // An app that is not ready for a moment is still there to be called; one that ends is not.
  const core::ServiceState state = core_->status(now()).state;
  if (is_ready) {
    setup_.announce();
  } else if (state != core::ServiceState::Starting && state != core::ServiceState::Running) {
    setup_.withdraw();
  }
}

// Our own parent may be systemd: it learns what `pillion status` would say in one line.
void Supervisor::tell_parent() {
  if (!parent_.is_enabled()) return;
  const core::ServiceStatus status = core_->status(now());
  const std::string text = fmt::format("{}{}{}", core::to_string(status.state),
                                       status.why.empty() ? "" : ": ", status.why);
  if (text != parent_status_) {
    parent_.status(text);
    parent_status_ = text;
  }
  if (status.stop_deadline_in && !has_told_stopping_) {
    has_told_stopping_ = true;
    const auto extension = *status.stop_deadline_in + std::chrono::seconds(10);
    parent_.send(
        fmt::format("STOPPING=1\nEXTEND_TIMEOUT_USEC={}",
                    std::chrono::duration_cast<std::chrono::microseconds>(extension).count()));
  }
}

void Supervisor::finish(const core::Finish& action) {
  note("service_stopped", fmt::format("the service has ended with exit code {}", action.exit_code));
  if (terminal_) terminal_->remove();
  children_.close();
  deployment_.close();
  resources_.finish();
  if (!remove_cgroups(*cgroups_)) {
    log::warn("cannot remove the service's cgroup: {}", cgroups_->describe());
  }
  const std::string receipt = control::to_json(action.receipt) + "\n";
  auto written = write_file_atomically(paths_.state + "/last-stop.json", receipt, 0640);
  if (!written) log::warn("cannot keep the receipt: {}", written.error().message());
  state_file_.remove();
  accepted_.remove();
  if (on_finish_) on_finish_(action);
  if (auto told = keeper_.finish(action.exit_code); !told) log::error("{}", told.error().message());
  loop_.stop();
}

}  // namespace pillion::supervisor::host
