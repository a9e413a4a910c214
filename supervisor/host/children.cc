#include "supervisor/host/children.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "config/render.h"
#include "runtime/file_replacement.h"
#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kLeftoversPeriod = std::chrono::milliseconds(50);
constexpr auto kLogPatience = std::chrono::seconds(2);  // for the logs of an ended service

core::ExitStatus to_exit_status(int wait_status) {
  core::ExitStatus status;
  if (WIFEXITED(wait_status)) {
    status.kind = core::ExitStatus::Kind::Exited;
    status.value = WEXITSTATUS(wait_status);
  } else if (WIFSIGNALED(wait_status)) {
    status.kind = core::ExitStatus::Kind::Signaled;
    status.value = WTERMSIG(wait_status);
  }
  return status;
}

std::string stage_name(SpawnStage stage) {
  switch (stage) {
    case SpawnStage::JoinCgroup: return "cgroup";
    case SpawnStage::EnterNetworkNamespace: return "network namespace";
    case SpawnStage::EnterMountNamespace:
    case SpawnStage::BindVolume: return "volume";
    case SpawnStage::SetGroups:
    case SpawnStage::SetUser: return "user";
    case SpawnStage::SetCapabilities: return "capabilities";
    case SpawnStage::ChangeDirectory: return "chdir";
    case SpawnStage::Execute: return "exec";
    case SpawnStage::BuildView:
    case SpawnStage::ApplyLandlock:
    case SpawnStage::EnterUserNamespace:
    case SpawnStage::LoadSeccomp: return "hardening";
    default: return "resources";
  }
}

// An app without a user runs as the supervisor's, which the loader cannot know: secrets without an
// owner are for that user.
config::Child with_secret_owners(config::Child child) {
  if (auto* secrets = std::get_if<config::SecretsConfig>(&child.config)) {
    for (auto& file : secrets->files) {
      if (!file.owner) file.owner = config::UserRef{"", ::geteuid(), ::getegid()};
    }
  }
  return child;
}

// What the keeper knows the read end of a notification_fd by.
std::string gate_name(const std::string& leaf) { return "gate:" + leaf; }

}  // namespace

Children::Children(Loop& loop, KeeperClient& keeper, ProcessHost& processes, Cgroups& cgroups,
                   Resources& resources, ServiceSetup& setup, const config::Service& service,
                   const ChildSlots& slots, const ServicePaths& paths, bool echoes_output,
                   PostEvent post)
    : loop_(loop),
      keeper_(keeper),
      processes_(processes),
      cgroups_(cgroups),
      resources_(resources),
      setup_(setup),
      service_(service),
      slots_(slots),
      paths_(paths),
      echoes_output_(echoes_output),
      post_(std::move(post)),
      writer_(loop,
              [this] {
                for (const auto& [slot, output] : outputs_) output->on_progress();
              }),
      confinement_(keeper, setup, paths),
      leftovers_(loop) {}

// Slots of one name share the log, not the pipes: each record carries its own generation.
std::shared_ptr<OutputLog> Children::log_of(const config::Child& child) {
  const OutputLogLimits limits{child.output_log.max_size.value, child.output_log.max_files};
  std::shared_ptr<OutputLog>& log = logs_[child.name];
  if (!log) log = std::make_shared<OutputLog>(paths_.log + "/" + child.name + ".log", limits);
  return log;
}

std::uint64_t Children::dropped_records(const std::string& child) const {
  std::uint64_t dropped = 0;
  for (const auto& [slot, output] : outputs_) {
    if (config_of(slot).name == child) dropped += output->late_records();
  }
  const auto log = logs_.find(child);
  return log == logs_.end() ? dropped : dropped + log->second->dropped_records();
}

// What the keeper knows the slot's descriptors by.
std::string Children::channel_name(core::ChildId slot) const {
  const std::string& name = config_of(slot).name;
  for (core::ChildId other = 0; other < slot; ++other) {
    if (config_of(other).name == name) return fmt::format("{}~{}", name, slot);
  }
  return name;
}

Result<void> Children::open_channels(core::ChildId slot) {
  const config::Child& config = config_of(slot);
  const std::string stored_name = channel_name(slot);
  auto observer = [this, slot, name = config.name](OutputStream, std::string_view line, bool) {
    if (echoes_output_) echo(name, line);
    for (auto& [key, generation] : generations_) {
      if (key.first == slot && generation.gate) generation.gate->on_line(line);
    }
  };
  auto output = OutputCapture::create(loop_, keeper_, writer_, stored_name, log_of(config),
                                      config.output_log, std::move(observer),
                                      [](const std::string& text) { log::error("{}", text); });
  if (!output) return fail(output.error());
  auto notify =
      ChildNotify::create(loop_, keeper_, stored_name, paths_.notify_socket(slot),
                          [this, slot](const NotifyMessage& message) { on_notify(slot, message); });
  if (!notify) return fail(notify.error());
  outputs_[slot] = std::move(*output);
  notify_sockets_[slot] = std::move(*notify);
  return {};
}

void Children::use_configuration(core::ChildId slot, const config::Child& before) {
  const config::Child& config = config_of(slot);
  log_of(config)->set_limits({config.output_log.max_size.value, config.output_log.max_files});
  outputs_.at(slot)->set_when_full(config.output_log.when_full);
  const bool has_other_gate =
      config.gate.log_line != before.gate.log_line || config.gate.file != before.gate.file;
  for (auto& [key, generation] : generations_) {
    if (key.first != slot) continue;
    if (has_other_gate && !config.gate.notification_fd && !generation.is_gate_seen) {
      if (generation.gate) loop_.defer_delete(std::move(generation.gate));  // the caller, maybe
      generation.gate =
          std::make_unique<GateWatch>(loop_, config.gate, [this, key = key] { on_gate_seen(key); });
      generation.gate->on_executed(generation.pid);
    }
  }
}

void Children::reload(const core::ReloadChild& action) {
  const config::Child& config = config_of(action.child);
  const auto found = generations_.find({action.child, action.generation});
  if (found == generations_.end() || !found->second.process) return;
  if (auto written = write_child_files(config); !written) {
    log::error("{} goes on with its old configuration: {}", config.name, written.error().message());
    return;
  }
  processes_.send_signal(*found->second.process, SIGHUP);
}

// Never waits for a terminal: who does not read misses lines, the log has them.
void Children::echo(const std::string& child, std::string_view line) {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  if (::poll(&output, 1, 0) != 1 || (output.revents & POLLOUT) == 0) return;
  const std::string text = fmt::format("{:<12} | {}\n", child, line.substr(0, 2000));
  static_cast<void>(!::write(STDOUT_FILENO, text.data(), text.size()));
}

void Children::spawn(core::ChildId child, core::Generation number) {
  const Key key{child, number};
  Generation& generation = generations_[key];
  generation.leaf = leaf_name(config_of(child).name, number);
  auto started = start(child, number, generation);
  if (started) return;
  cgroups_.remove(generation.leaf);
  forget(key);
  post_(core::SpawnFailed{child, number, "set-up", started.error().errno_value(),
                          started.error().message()});
}

Result<void> Children::start(core::ChildId child, core::Generation number, Generation& generation) {
  if (!has_channels(child)) return fail("its pipes are not open");
  const config::Child& config = config_of(child);
  const Key key{child, number};
  outputs_[child]->drain();
  outputs_[child]->set_generation(number);
  if (auto written = write_child_files(config); !written) return written;
  auto plan = make_spawn_plan(context_of(child, number));
  if (!plan) return fail(plan.error());
  if (auto made = cgroups_.create(generation.leaf, resources_.limits_of(config)); !made)
    return made;
  auto entry = cgroups_.entry(generation.leaf);
  if (!entry) return fail(entry.error());
  plan->cgroup = &*entry;
  complete_plan(config, *plan);
  if (auto confined = confinement_.plan(config, *plan); !confined) return confined;
  auto entered = confinement_.enter_pid_namespace(generation.leaf, *plan);
  if (!entered) return entered;
  generation.has_own_pids = plan->pid_namespace >= 0;
  plan->listeners = setup_.listeners_of(config.name);
  if (config.use == config::Component::Proxy && !setup_.neighbours_file().empty()) {
    plan->env["PILLION_NEIGHBOURS"] = setup_.neighbours_file();
  }
  plan->standard_output = outputs_[child]->standard_output();
  plan->standard_error = outputs_[child]->standard_error();
  if (terminal_ && config.role == config::Role::App) {
    if (auto lent = terminal_->attach(*plan, plan->standard_output); !lent) return lent;
  }
  generation.gate =
      std::make_unique<GateWatch>(loop_, config.gate, [this, key] { on_gate_seen(key); });
  if (config.gate.notification_fd) {
    plan->notification_fd = {static_cast<int>(*config.gate.notification_fd),
                             generation.gate->notification_fd()};
    // For the next supervisor; without it, it could not see this gate open.
    auto kept = keeper_.put_fd(gate_name(generation.leaf), generation.gate->read_end());
    if (!kept) return kept;
  }
  auto process = processes_.start(*plan, config.name, number, generation.leaf, events_of(key));
  if (!process && process.error().errno_value() == ENOMEM &&
      confinement_.retry_pid_namespace(generation.leaf, *plan)) {
    process = processes_.start(*plan, config.name, number, generation.leaf, events_of(key));
  }
  if (!process) return fail(process.error());
  generation.gate->on_spawned();
  generation.process = *process;
  generation.pid = processes_.pid_of(*process);
  resources_.generation_started(config, number, generation.leaf, generation.pid);
  return {};
}

// The table of a component of ours, and its directory for what it must remember.
Result<void> Children::write_child_files(const config::Child& child) {
  if (!child.use) return {};
  const std::string path = paths_.child_table(child.name);
  auto written = replace_file(path, config::render_component(with_secret_owners(child)), 0400,
                              Survives::ProcessCrash);
  if (!written) return written;
  const std::string state = paths_.child_state(child.name);
  if (auto made = make_directories(state, 0700); !made) return made;
  if (!setup_.privileges().is_root || !child.user || !child.user->uid) return {};
  for (const std::string& each : {path, state}) {
    if (::chown(each.c_str(), *child.user->uid, child.user->gid.value_or(0)) < 0) {
      return fail_errno("cannot chown " + each);
    }
  }
  return {};
}

// What every process that runs as a child, or beside it, has in common.
void Children::complete_plan(const config::Child& child, SpawnPlan& plan) {
  plan.network_namespace = setup_.network_namespace_of(child);
  plan.mount_namespace = setup_.mount_namespace();
  plan.mounts = setup_.mounts_of(child);
}

ChildContext Children::context_of(core::ChildId child, core::Generation generation) const {
  return {service_,
          config_of(child),
          paths_,
          paths_.notify_socket(child),
          generation,
          setup_.privileges().is_root,
          setup_.privileges().can_network};
}

Result<SpawnPlan> Children::plan_beside(core::ChildId child, core::Generation generation,
                                        std::vector<std::string> command) {
  const config::Child& config = config_of(child);
  auto plan = make_spawn_plan(context_of(child, generation));
  if (!plan) return plan;
  complete_plan(config, *plan);
  plan->argv = std::move(command);
  if (auto confined = confinement_.plan(config, *plan); !confined) return fail(confined.error());
  // It may signal the child, which Landlock would forbid.
  plan->sandbox.landlock = {};
  const auto beside = generations_.find({child, generation});
  if (beside != generations_.end()) Confinement::share(beside->second.pid, *plan);
  plan->env.erase("NOTIFY_SOCKET");
  plan->env.erase("WATCHDOG_USEC");
  return plan;
}

ProcessEvents Children::events_of(Key key) {
  ProcessEvents events;
  events.on_skipped = [this, key](const std::vector<std::string>& skipped) {
    confinement_.note_missing(config_of(key.first).name, skipped);
  };
  events.on_started = [this, key](std::optional<SpawnFailure> failure, const std::string& text) {
    on_started(key, failure, text);
  };
  events.on_exit = [this, key](int wait_status) { on_exit(key, wait_status); };
  return events;
}

void Children::on_started(Key key, std::optional<SpawnFailure> failure,
                          const std::string& description) {
  const auto found = generations_.find(key);
  if (found == generations_.end()) return;
  Generation& generation = found->second;
  if (!failure) {
    if (generation.gate) generation.gate->on_executed(generation.pid);
    post_(core::Spawned{key.first, key.second, generation.pid});
    return;
  }
  // The process is about to end by itself; its status says nothing that is not known.
  processes_.forget(*generation.process);
  resources_.generation_ended(generation.leaf);
  leaves_to_remove_.push_back(generation.leaf);
  forget(key);
  leftovers_.start(kLeftoversPeriod, kLeftoversPeriod, [this] { look_for_leftovers(); });
  post_(core::SpawnFailed{key.first, key.second, stage_name(failure->stage), failure->error,
                          description});
}

void Children::on_exit(Key key, int wait_status) {
  notify_sockets_[key.first]->read_all();  // a receipt is sent just before the exit
  outputs_[key.first]->drain();
  const auto found = generations_.find(key);
  if (found == generations_.end()) return;
  Generation& generation = found->second;
  core::Exited event;
  event.child = key.first;
  event.generation = key.second;
  event.status = to_exit_status(wait_status);
  resources_.explain_exit(generation.leaf, generation.is_killed, event.status);
  event.has_leftovers = has_leftovers(generation);
  if (event.has_leftovers) {
    generation.is_awaiting_empty = true;
    leftovers_.start(kLeftoversPeriod, kLeftoversPeriod, [this] { look_for_leftovers(); });
  }
  post_(event);
}

void Children::remove_later(const std::string& leaf) {
  if (cgroups_.remove(leaf)) return;
  leaves_to_remove_.push_back(leaf);
  leftovers_.start(kLeftoversPeriod, kLeftoversPeriod, [this] { look_for_leftovers(); });
}

bool Children::has_leftovers(const Generation& generation) const {
  if (cgroups_.can_track()) return !cgroups_.is_empty(generation.leaf);
  return ProcessHost::group_exists(generation.pid);
}

void Children::look_for_leftovers() {
  std::erase_if(leaves_to_remove_, [&](const std::string& leaf) { return cgroups_.remove(leaf); });
  bool is_awaiting = !leaves_to_remove_.empty();
  std::vector<Key> emptied;
  for (auto& [key, generation] : generations_) {
    if (!generation.is_awaiting_empty) continue;
    if (!has_leftovers(generation)) {
      generation.is_awaiting_empty = false;
      emptied.push_back(key);
      continue;
    }
    is_awaiting = true;
    // Without cgroup.kill one pass may miss what was forked meanwhile.
    if (generation.is_killed) cgroups_.kill(generation.leaf);
  }
  if (!is_awaiting) leftovers_.stop();
  for (const Key& key : emptied) {
    outputs_[key.first]->drain();
    post_(core::CgroupEmpty{key.first, key.second});
  }
}

void Children::on_gate_seen(Key key) {
  const auto found = generations_.find(key);
  if (found == generations_.end()) return;
  found->second.is_gate_seen = true;
  if (found->second.is_gate_wanted) post_(core::GateSeen{key.first, key.second});
}

void Children::watch_gate(core::ChildId child, core::Generation number) {
  const Key key{child, number};
  const auto found = generations_.find(key);
  if (found == generations_.end()) return;
  found->second.is_gate_wanted = true;
  if (found->second.is_gate_seen) post_(core::GateSeen{child, number});
}

void Children::send_signal(const core::SendSignal& action) {
  const auto found = generations_.find({action.child, action.generation});
  if (found == generations_.end()) return;
  Generation& generation = found->second;
  const bool is_group = action.target == core::SignalTarget::Leftovers ||
                        config_of(action.child).signal_scope == config::SignalScope::Cgroup;
  if (is_group && cgroups_.can_track()) {
    cgroups_.signal(generation.leaf, action.signal_number);
  } else if (is_group || config_of(action.child).signal_scope == config::SignalScope::Group) {
    ::kill(-generation.pid, action.signal_number);
  } else if (generation.process) {
    processes_.send_signal(*generation.process, action.signal_number);
  }
}

void Children::signal_app(core::ChildId app, int signal_number) {
  for (auto found = generations_.rbegin(); found != generations_.rend(); ++found) {
    if (found->first.first != app) continue;
    return send_signal({found->first.first, found->first.second, signal_number});
  }
}

void Children::kill(core::ChildId child, core::Generation number) {
  const auto found = generations_.find({child, number});
  if (found == generations_.end()) return;
  Generation& generation = found->second;
  if (!generation.is_killed) {
    resources_.generation_killing(config_of(child).name, number, generation.leaf,
                                  is_running(generation.pid) ? generation.pid : 0);
  }
  generation.is_killed = true;
  if (cgroups_.can_track()) {
    cgroups_.kill(generation.leaf);
  } else if (generation.pid > 1) {
    ::kill(-generation.pid, SIGKILL);
  }
  if (generation.process) processes_.send_signal(*generation.process, SIGKILL);
}

void Children::release(core::ChildId child, core::Generation number) {
  const Key key{child, number};
  const auto found = generations_.find(key);
  if (found == generations_.end()) return;
  if (found->second.process) processes_.acknowledge(*found->second.process);
  resources_.generation_ended(found->second.leaf);
  if (!cgroups_.remove(found->second.leaf)) {
    leaves_to_remove_.push_back(found->second.leaf);
    leftovers_.start(kLeftoversPeriod, kLeftoversPeriod, [this] { look_for_leftovers(); });
  }
  forget(key);
}

void Children::forget(Key key) {
  const Generation& generation = generations_.at(key);
  if (generation.gate && generation.gate->read_end() >= 0) {
    keeper_.remove_fd(gate_name(generation.leaf));
  }
  if (generation.has_own_pids) confinement_.pid_namespaces().release(generation.leaf);
  generations_.erase(key);
}

// The line that opens the gate may have been written to the log just before the end of an earlier
// supervisor.
void Children::rescan_log(const std::string& child, core::Generation number, GateWatch& gate) {
  const auto text = read_file(paths_.log + "/" + child + ".log");
  if (!text) return;
  const std::string tag = fmt::format(":g{} ", number);
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto at = line.find(tag);
    if (at != std::string_view::npos) gate.on_line(line.substr(at + tag.size()));
  }
}

// By name, and where two slots have it, by the generation that each had.
std::optional<core::ChildId> Children::find_slot(const ChildRecord& record,
                                                 const core::Snapshot& snapshot) const {
  std::optional<core::ChildId> found;
  for (core::ChildId slot = 0; slot < slots_.size(); ++slot) {
    if (config_of(slot).name != record.name || outputs_.count(slot) == 0) continue;
    const bool is_exact = slot < snapshot.children.size() &&
                          snapshot.children[slot].name == record.name &&
                          snapshot.children[slot].generation == record.generation;
    if (is_exact) return slot;
    if (!found) found = slot;
  }
  return found;
}

std::optional<core::Survivor> Children::adopt(const ChildRecord& record,
                                              const core::Snapshot& snapshot) {
  const auto slot = find_slot(record, snapshot);
  const bool is_child = slot && record.generation > 0;
  if (!is_child || record.state == keeper::ChildState::Pending) {
    // A probe, a hook, a program of ours, or a spawn that was never reported: end it.
    if (!record.cgroup.empty()) cgroups_.kill(record.cgroup);
    if (record.state == keeper::ChildState::Running) ::kill(record.pid, SIGKILL);
    if (!record.cgroup.empty()) leaves_to_remove_.push_back(record.cgroup);
    leftovers_.start(kLeftoversPeriod, kLeftoversPeriod, [this] { look_for_leftovers(); });
    if (record.state != keeper::ChildState::Running) keeper_.acknowledge(record.id);
    return std::nullopt;
  }
  const core::ChildId child = *slot;
  const config::Child& config = config_of(child);
  const Key key{child, record.generation};
  Generation& generation = generations_[key];
  generation.leaf = record.cgroup;
  generation.has_own_pids = true;  // perhaps
  generation.pid = record.pid;
  auto gate_end = keeper_.get_fd(gate_name(generation.leaf));
  generation.gate = std::make_unique<GateWatch>(
      loop_, config.gate, [this, key] { on_gate_seen(key); },
      gate_end ? std::move(*gate_end) : Fd());
  outputs_[child]->set_generation(record.generation);
  if (terminal_ && config.role == config::Role::App) {
    terminal_->copy_to(outputs_[child]->standard_output());
  }
  if (record.state == keeper::ChildState::Running) generation.gate->on_executed(record.pid);
  if (config.gate.log_line) rescan_log(config.name, record.generation, *generation.gate);
  core::Survivor survivor{record.name, record.generation, record.pid, std::nullopt, false};
  generation.process = processes_.adopt(record, events_of(key));
  const bool has_exited = record.state == keeper::ChildState::Exited;
  resources_.generation_adopted(config, record.generation, record.cgroup, record.pid, has_exited);
  if (has_exited) {
    survivor.exited = to_exit_status(record.wait_status);
    resources_.explain_exit(record.cgroup, false, *survivor.exited);
    survivor.has_leftovers = has_leftovers(generation);
    generation.is_awaiting_empty = survivor.has_leftovers;
    if (survivor.has_leftovers) {
      leftovers_.start(kLeftoversPeriod, kLeftoversPeriod, [this] { look_for_leftovers(); });
    }
  }
  return survivor;
}

void Children::end_adoption() {
  std::vector<std::string> leaves;
  for (const auto& [key, generation] : generations_) leaves.push_back(generation.leaf);
  confinement_.pid_namespaces().retain(leaves);
}

// Each child has a socket of its own, but any process may write to it. A sender that lives must be
// in the generation; one that has ended already is believed when it was the child's user or root.
std::optional<Children::Key> Children::find_sender(core::ChildId child,
                                                   const NotifyMessage& message) const {
  for (auto found = generations_.rbegin(); found != generations_.rend(); ++found) {
    const auto& [key, generation] = *found;
    if (key.first != child) continue;
    const pid_t pid = message.sender_pid;
    if (pid == generation.pid) return key;
    if (is_running(pid)) {
      const bool is_member = cgroups_.can_track() ? cgroups_.contains(generation.leaf, pid)
                                                  : ::getsid(pid) == generation.pid;
      if (is_member) return key;
      continue;
    }
    const auto& user = config_of(child).user;
    const bool has_user = setup_.privileges().is_root && user && user->uid;
    const uid_t uid = has_user ? *user->uid : ::geteuid();
    if (message.sender_uid == 0 || message.sender_uid == uid) return key;
  }
  return std::nullopt;
}

void Children::on_notify(core::ChildId child, const NotifyMessage& message) {
  const auto key = find_sender(child, message);
  if (!key) {
    log::debug("a notification of pid {} to {} is ignored: not its process", message.sender_pid,
               config_of(child).name);
    return;
  }
  const auto& process = generations_.at(*key).process;
  if (process) processes_.confirm_started(*process);  // who speaks has been executed
  for (core::Notified& event : notified_events(message)) {
    event.child = key->first;
    event.generation = key->second;
    post_(std::move(event));
  }
  if (settle_) settle_();
}

void Children::close() {
  const MonotonicTime deadline = SystemClock().now() + kLogPatience;
  for (const auto& [slot, output] : outputs_) {
    output->drain();
    output->remove(std::max(deadline - SystemClock().now(), Duration::zero()));
  }
  confinement_.pid_namespaces().release_all();
  for (const auto& [slot, notify] : notify_sockets_) notify->remove();
  for (const std::string& leaf : leaves_to_remove_) cgroups_.remove(leaf);
  leftovers_.stop();
}

}  // namespace pillion::supervisor::host
