#include "supervisor/host/service_setup.h"

#include <cap-ng.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "netns/facts.h"
#include "netns/wanted.h"
#include "netns/wanted_from_service.h"
#include "runtime/file_replacement.h"
#include "runtime/log.h"
#include "runtime/socket_broker.h"
#include "supervisor/host/child_environment.h"

namespace pillion::supervisor::host {
namespace {

constexpr int kRemoveTriesMax = 100;
constexpr auto kRemovePause = std::chrono::milliseconds(5);
constexpr auto kNetnsTimeout = std::chrono::seconds(30);
constexpr auto kCommandRetry = std::chrono::milliseconds(50);
constexpr char kNoPrivilege[] =
    "creating a network namespace needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN); start it as root "
    "or "
    "as pillion@NAME.service, or set mode = \"host\" in [network]: then the service shares this "
    "network, traffic is not captured, and everything else works";

std::string problem_of(const CommandResult& result) {
  std::string text = result.standard_error;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  constexpr std::string_view kPrefix = "pillion-netns: ";
  if (text.starts_with(kPrefix)) text.erase(0, kPrefix.size());
  return text.empty() ? "pillion-netns " + result.describe() : text;
}

}  // namespace

Privileges own_privileges() {
  Privileges privileges;
  privileges.is_root = ::geteuid() == 0;
  privileges.can_mount = ::capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) == 1;
  privileges.can_network = ::capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) == 1;
  return privileges;
}

ServiceSetup::ServiceSetup(Loop& loop, KeeperClient& keeper, ProcessHost& processes,
                           Cgroups& cgroups, const config::Service& service, ServicePaths paths)
    : loop_(loop),
      keeper_(keeper),
      processes_(processes),
      cgroups_(cgroups),
      service_(service),
      paths_(std::move(paths)),
      privileges_(own_privileges()),
      volumes_(service, paths_, privileges_.is_root && privileges_.can_mount),
      listener_plans_(plan_listeners(service, paths_)),
      record_(paths_),
      broker_(loop, processes, cgroups),
      registry_(paths_.runtime.substr(0, paths_.runtime.rfind('/')) + "/.services"),
      reply_(loop) {}

bool ServiceSetup::has_network() const {
  const config::Network& network = service_.network;
  return network.mode != config::NetworkMode::Host || network.intercept.inbound ||
         network.intercept.outbound;
}

void ServiceSetup::create(OnDone on_done) {
  on_created_ = std::move(on_done);
  release_descriptors();  // of a supervisor that crashed within this function
  remove_leaves("of a crashed earlier run");
  volumes_.remove();
  Result<void> prepared = prepare_directories();
  if (prepared && has_network() && !(privileges_.can_mount && privileges_.can_network)) {
    prepared = fail(kNoPrivilege);
  }
  if (!prepared || !has_network()) {
    reply_.start(Duration::zero(), [this, prepared] {
      auto result = prepared;
      if (result) result = create_mounts();
      if (result) result = create_listeners();
      finish_create(std::move(result));
    });
    return;
  }
  remove_old_network([this] { create_network(); });
}

Result<void> ServiceSetup::prepare_directories() {
  // Children pass through the state directory to their own places below it.
  if (auto made = make_directories(paths_.state, 0711); !made) {
    warnings_.push_back(fmt::format(
        "nothing is remembered from run to run: {}; PILLION_STATE_DIR may name a directory that "
        "can be written",
        made.error().message()));
  }
  if (privileges_.is_root) {
    static_cast<void>(!::chown(paths_.log.c_str(), 0, service_group(service_.name())));
  }
  if (auto prepared = prepare_issued_directory(); !prepared) return prepared;
  if (auto prepared = volumes_.prepare(); !prepared) return prepared;
  for (const auto& [path, fd] : volumes_.held()) {
    if (auto put = keeper_.put_fd("mount:" + path, fd.get()); !put) return put;
  }
  return {};
}

// Written by a secrets child, read by the logs children; nobody else may look into it.
Result<void> ServiceSetup::prepare_issued_directory() {
  if (!tells_issued_secrets(service_)) return {};
  const std::string path = paths_.issued();
  if (auto made = make_directories(path, 0700); !made) return made;
  if (!privileges_.is_root) return {};
  const auto first = [&](config::Component component) -> const config::Child& {
    return *std::find_if(service_.children.begin(), service_.children.end(),
                         [&](const config::Child& child) { return child.use == component; });
  };
  const auto& writer = first(config::Component::Secrets).user;
  const auto& reader = first(config::Component::Logs).user;
  const uid_t owner = writer && writer->uid ? *writer->uid : 0;
  const gid_t group = reader ? reader->gid.value_or(reader->uid.value_or(0)) : 0;
  // What is written into it gets the group of the readers.
  if (::chown(path.c_str(), owner, group) < 0 || ::chmod(path.c_str(), 02750) < 0) {
    return fail_errno("cannot hand over " + path);
  }
  return {};
}

void ServiceSetup::remove_leaves(const char* whose) {
  for (const std::string& leaf : cgroups_.leaves()) {
    log::warn("removing cgroup {} {}", leaf, whose);
    cgroups_.kill(leaf);
    // Who was killed takes a moment to be gone.
    for (int tries = 0; !cgroups_.remove(leaf) && tries < kRemoveTriesMax; ++tries) {
      std::this_thread::sleep_for(kRemovePause);
    }
  }
}

void ServiceSetup::remove_old_network(std::function<void()> then) {
  if (is_in_place() || ::access(netns::names_of(service_.name()).netns_path.c_str(), F_OK) != 0)
    return then();
  log::warn("removing the network of a crashed earlier run");
  run_netns("remove", [then = std::move(then)](const CommandResult& result) {
    if (!result.is_success()) log::warn("cannot remove an old network: {}", problem_of(result));
    then();
  });
}

void ServiceSetup::create_network() {
  if (is_in_place()) {
    auto made = make_network_namespace();
    Result<void> kept = made ? keeper_.put_fd("netns", made->get()) : fail(made.error());
    if (!kept) {
      reply_.start(Duration::zero(), [this, kept] { finish_create(kept); });
      return;
    }
    network_namespace_ = std::move(*made);
  }
  run_netns("create", [this](const CommandResult& result) { on_network_created(result); });
}

void ServiceSetup::run_netns(const std::string& command, CommandRun::OnDone on_done) {
  SpawnPlan plan;
  plan.argv = {program_directory() + "/pillion-netns", command};
  plan.env = {{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}, {"PILLION_SERVICE", service_.name()}};
  plan.drops_privileges = false;
  plan.no_new_privileges = false;
  netns::Wanted wanted = netns::wanted_from_service(service_);
  wanted.is_in_place = is_in_place();
  if (wanted.is_in_place) plan.network_namespace = network_namespace_.get();
  const std::string input = netns::wanted_to_json(wanted);
  if (auto kept = record_.keep_wanted(input); !kept) log::warn("{}", kept.error().message());
  command_ = std::make_unique<CommandRun>(loop_, processes_, cgroups_, "netns/" + command,
                                          fmt::format("netns.{}", ++command_count_));
  command_->start(std::move(plan), input, kNetnsTimeout,
                  [this, on_done = std::move(on_done)](CommandResult result) {
                    loop_.defer_delete(std::move(command_));
                    on_done(std::move(result));
                  });
}

void ServiceSetup::on_network_created(const CommandResult& result) {
  if (!result.is_success()) return finish_create(fail(problem_of(result)));
  auto done = open_network(result.standard_output);
  if (done) done = create_mounts();
  if (done) done = create_listeners();
  if (done && is_sealed()) done = open_broker();
  finish_create(std::move(done));
}

Result<void> ServiceSetup::open_network(const std::string& facts_json) {
  if (auto kept = record_.keep_facts(facts_json); !kept) return kept;
  const auto& facts = record_.facts();
  warnings_.insert(warnings_.end(), facts->warnings.begin(), facts->warnings.end());
  if (is_in_place()) return write_name_files(*facts);
  if (facts->netns_path.empty()) return {};
  auto fd = open_file(facts->netns_path, O_RDONLY);
  if (!fd) return fail(fd.error());
  network_namespace_ = std::move(*fd);
  if (auto put = keeper_.put_fd("netns", network_namespace_.get()); !put) return put;
  return write_name_files(*facts);
}

// The service works without; its programs then keep the servers that they started with.
void ServiceSetup::follow_name_files() {
  if (!record_.facts() || !network_namespace_) return;
  follower_ = std::make_unique<NameFileFollower>(loop_, netns::wanted_from_service(service_),
                                                 *record_.facts(), paths_.runtime + "/etc");
  auto started = follower_->start([](const std::string& names) {
    log::info("the host's name files changed; rewrote the service's {}", names);
  });
  if (!started) log::warn("{}", started.error().message());
}

// In another service's namespace (mode join) its names are not ours to give.
std::string ServiceSetup::neighbours_file() const {
  const bool has_proxy = service_.using_component(config::Component::Proxy) != nullptr;
  const bool has_own_names = service_.network.mode == config::NetworkMode::Bridged || is_sealed();
  const bool is_on_host = service_.network.mode == config::NetworkMode::Host && has_proxy;
  return has_own_names || is_on_host ? paths_.runtime + "/etc/neighbours" : "";
}

void ServiceSetup::follow_neighbours() {
  if (neighbours_file().empty()) return;
  Result<void> started = make_directories(paths_.runtime + "/etc", 0755);
  if (started) {
    neighbours_ = std::make_unique<NeighbourWatch>(
        loop_, registry_, neighbour_facts_of(service_, record_.facts()), neighbours_file());
    started = neighbours_->start([this](const std::vector<netns::HostAlias>& aliases) {
      if (follower_) follower_->set_neighbours(aliases);
    });
  }
  if (!started) log::warn("no other service can be called by name: {}", started.error().message());
}

void ServiceSetup::announce() {
  RegisteredService ours;
  ours.name = service_.name();
  ours.ports = registered_ports_of(service_);
  if (ours.ports.empty()) return;
  ours.keeper_pid = keeper_.keeper_pid();
  ours.keeper_start_time = read_start_time(ours.keeper_pid);
  if (auto announced = registry_.announce(std::move(ours)); !announced) {
    log::warn("other services cannot call this one by name: {}", announced.error().message());
  }
}

void ServiceSetup::withdraw() { registry_.withdraw(service_.name()); }

// resolv.conf and nsswitch.conf are the same for all children and bound once; the hosts files
// differ between captured children and exempt helpers, so each child's own view binds one.
Result<void> ServiceSetup::write_name_files(const netns::Facts& facts) {
  if (auto made = make_directories(paths_.runtime + "/etc", 0755); !made) return made;
  const std::pair<const char*, const std::string*> files[] = {
      {"hosts", &facts.hosts},
      {"helper_hosts", &facts.helper_hosts},
      {"resolv.conf", &facts.resolv_conf},
      {"nsswitch.conf", &facts.nsswitch_conf},
  };
  for (const auto& [name, text] : files) {
    if (text->empty()) continue;
    const std::string source = paths_.runtime + "/etc/" + name;
    if (auto written = replace_file(source, *text, 0644, Survives::ProcessCrash); !written)
      return written;
    const std::string target = std::string("/etc/") + name;
    const bool is_per_child = std::string_view(name).ends_with("hosts");
    // The helpers of a sealed service are in the host's network, and resolve names as the host
    // does.
    if (!is_per_child && !is_sealed() && ::access(target.c_str(), F_OK) == 0)
      name_files_.push_back({source, target});
  }
  return write_helper_resolv_conf();
}

// [network.dns] nameservers are for the service; sealed, the proxy is who asks them.
Result<void> ServiceSetup::write_helper_resolv_conf() {
  const auto& servers = service_.network.dns.nameservers;
  if (!is_sealed() || servers.empty()) return {};
  std::string text = "# Written by Pillion for the helpers of one service\n";
  for (const config::IpAddress& server : servers) text += "nameserver " + server.to_string() + "\n";
  return replace_file(paths_.runtime + "/etc/helper_resolv.conf", text, 0644,
                      Survives::ProcessCrash);
}

Result<void> ServiceSetup::create_mounts() {
  if (!privileges_.can_mount) return {};
  auto made = make_mount_namespace({volumes_.tmpfs(), name_files_});
  const bool is_needed = !service_.volumes.empty() || network_namespace_;
  if (!made && !is_needed) {
    warnings_.push_back(made.error().message());
    return {};
  }
  if (!made) return fail(made.error());
  mount_namespace_ = std::move(*made);
  return keeper_.put_fd("mntns", mount_namespace_.get());
}

Result<void> ServiceSetup::create_listeners() {
  for (const ListenerPlan& plan : listener_plans_) {
    auto socket = open_listener(plan, network_namespace_.get());
    if (!socket && plan.is_optional) {
      log::debug("{}", socket.error().message());
      continue;
    }
    if (!socket) return fail(socket.error());
    if (auto put = keeper_.put_fd(plan.stored_name(), socket->get()); !put) return put;
    listeners_[plan.stored_name()] = std::move(*socket);
  }
  return {};
}

// One that listens on the same address already, under whatever name.
const ListenerPlan* ServiceSetup::find_same_place(const ListenerPlan& plan) const {
  for (const ListenerPlan& other : listener_plans_) {
    ListenerPlan renamed = other;
    renamed.child = plan.child;
    renamed.name = plan.name;
    if (renamed == plan && listeners_.count(other.stored_name()) > 0) return &other;
  }
  return nullptr;
}

Result<void> ServiceSetup::prepare_change(const config::Service& after) {
  next_listeners_.clear();
  if (listeners_.empty()) return {};  // not made yet: create() goes by what is accepted then
  for (const ListenerPlan& plan : plan_listeners(after, paths_)) {
    const ListenerPlan* same = find_same_place(plan);
    if (same && same->stored_name() == plan.stored_name()) continue;
    auto socket = same ? listeners_.at(same->stored_name()).duplicate()
                       : open_listener(plan, network_namespace_.get());
    if (!socket && plan.is_optional) continue;
    if (!socket) {
      next_listeners_.clear();
      return fail(socket.error());
    }
    next_listeners_[plan.stored_name()] = std::move(*socket);
  }
  return {};
}

void ServiceSetup::hand_over_listeners() {
  const bool has_any = !listeners_.empty();
  listener_plans_ = plan_listeners(service_, paths_);
  if (!has_any) return;
  for (auto& [name, socket] : next_listeners_) {
    if (auto put = keeper_.put_fd(name, socket.get()); !put)
      log::error("{}", put.error().message());
    listeners_[name] = std::move(socket);
  }
  next_listeners_.clear();
  std::erase_if(listeners_, [&](const auto& listener) {
    const bool is_wanted =
        std::any_of(listener_plans_.begin(), listener_plans_.end(),
                    [&](const auto& plan) { return plan.stored_name() == listener.first; });
    if (!is_wanted) keeper_.remove_fd(listener.first);
    return !is_wanted;
  });
}

void ServiceSetup::apply_change(OnDone on_captured) {
  hand_over_listeners();
  for (const RegisteredService& running : registry_.list()) {
    if (running.name != service_.name()) continue;
    withdraw();  // published ports may be others now, or none
    announce();
  }
  if (follower_) {
    follow_name_files();
    follower_->update();
  }
  recapture(std::move(on_captured));
}

// Rules that are not live yet are made from the new configuration anyway.
void ServiceSetup::recapture(OnDone on_captured) {
  if (!record_.capture() ||
      wanted_ == netns::wanted_to_json(netns::wanted_from_service(service_))) {
    return;
  }
  if (command_) {  // one at a time
    reply_.start(kCommandRetry, [this, on_captured = std::move(on_captured)] {
      const OnDone answer = on_captured;  // the timer lets go of this closure
      recapture(answer);
    });
    return;
  }
  enable_capture(std::move(on_captured));
}

void ServiceSetup::forget_children(const std::vector<std::string>& before) {
  for (const std::string& name : before) {
    if (service_.find(name)) continue;
    ::unlink(paths_.child_table(name).c_str());
    ::unlink(paths_.admin_socket(name).c_str());
  }
}

// Only our own proxy takes sockets from a broker.
Result<void> ServiceSetup::open_broker() {
  if (service_.using_component(config::Component::Proxy) == nullptr) return {};
  auto channel = make_broker_channel();
  if (!channel) return fail(channel.error());
  if (auto put = keeper_.put_fd("broker:client", channel->client.get()); !put) return put;
  if (auto put = keeper_.put_fd("broker:server", channel->broker.get()); !put) return put;
  broker_client_ = std::move(channel->client);
  broker_server_ = std::move(channel->broker);
  start_broker();
  return {};
}

// As the proxy's user, without any privilege, in the service's network namespace.
void ServiceSetup::start_broker() {
  const config::Child* proxy = service_.using_component(config::Component::Proxy);
  if (proxy == nullptr || !broker_server_) return;
  SpawnPlan plan;
  plan.argv = {program_directory() + "/pillion-broker"};
  plan.env = {{"PILLION_SERVICE", service_.name()}};
  plan.network_namespace = network_namespace_.get();
  plan.listeners = {{kBrokerListener, broker_server_.get()}};
  plan.standard_error = STDERR_FILENO;
  plan.drops_privileges = privileges_.can_network;
  if (privileges_.is_root && proxy->user && proxy->user->uid) {
    plan.credentials = Credentials{*proxy->user->uid, proxy->user->gid.value_or(0), {}};
  }
  broker_.start(std::move(plan));
}

void ServiceSetup::finish_create(Result<void> result) {
  if (result) {
    follow_name_files();
    follow_neighbours();
  }
  const auto on_created = std::move(on_created_);
  on_created(std::move(result));
}

void ServiceSetup::adopt() {
  record_.load();
  if (auto fd = keeper_.get_fd("netns")) network_namespace_ = std::move(*fd);
  if (auto fd = keeper_.get_fd("mntns")) mount_namespace_ = std::move(*fd);
  if (auto fd = keeper_.get_fd("broker:client")) broker_client_ = std::move(*fd);
  if (auto fd = keeper_.get_fd("broker:server")) broker_server_ = std::move(*fd);
  // The broker of the supervisor before us ends with what else it ran beside the children.
  if (broker_server_) reply_.start(Duration::zero(), [this] { start_broker(); });
  for (const ListenerPlan& plan : listener_plans_) {
    if (auto fd = keeper_.get_fd(plan.stored_name()))
      listeners_[plan.stored_name()] = std::move(*fd);
  }
  follow_name_files();
  if (follower_) follower_->update();  // what changed while no supervisor was there
  follow_neighbours();
}

void ServiceSetup::enable_capture(OnDone on_done) {
  wanted_ = netns::wanted_to_json(netns::wanted_from_service(service_));
  run_netns("capture", [this, on_done = std::move(on_done)](const CommandResult& result) {
    if (!result.is_success()) return on_done(fail(problem_of(result)));
    on_done(record_.keep_capture(result.standard_output));
  });
}

void ServiceSetup::lift_capture(OnDone on_done) {
  run_netns("uncapture", [on_done = std::move(on_done)](const CommandResult& result) {
    on_done(result.is_success() ? Result<void>() : fail(problem_of(result)));
  });
}

void ServiceSetup::remove(std::function<void()> on_done) {
  broker_.stop([this, on_done = std::move(on_done)] { remove_network(on_done); });
}

void ServiceSetup::remove_network(std::function<void()> on_done) {
  release_descriptors();
  remove_leaves("that outlived its child");
  if (!has_network() || !privileges_.can_network || is_in_place()) {
    remove_files();
    reply_.start(Duration::zero(), std::move(on_done));
    return;
  }
  run_netns("remove", [this, on_done = std::move(on_done)](const CommandResult& result) {
    if (!result.is_success()) log::error("cannot remove the network: {}", problem_of(result));
    remove_files();
    on_done();
  });
}

void ServiceSetup::release_descriptors() {
  listeners_.clear();
  network_namespace_.reset();
  mount_namespace_.reset();
  broker_client_.reset();
  broker_server_.reset();
  for (const std::string& name : keeper_.list_fds()) {
    const bool is_ours =
        name.starts_with("listen:") || name.starts_with("mount:") || name.starts_with("broker:");
    if (is_ours || name == "netns" || name == "mntns") keeper_.remove_fd(name);
  }
}

void ServiceSetup::remove_files() {
  withdraw();
  neighbours_.reset();
  follower_.reset();
  record_.remove();
  volumes_.remove();
  for (const config::Child& child : service_.children) {
    ::unlink(paths_.child_table(child.name).c_str());
    ::unlink(paths_.admin_socket(child.name).c_str());
    ::unlink((paths_.issued() + "/" + child.name).c_str());
  }
  ::rmdir(paths_.issued().c_str());
  for (const char* name : {"hosts", "helper_hosts", "resolv.conf", "helper_resolv.conf",
                           "nsswitch.conf", "neighbours"}) {
    ::unlink((paths_.runtime + "/etc/" + name).c_str());
  }
  ::rmdir((paths_.runtime + "/etc").c_str());
}

std::vector<BindMount> ServiceSetup::mounts_of(const config::Child& child) const {
  if (!mount_namespace_) return {};
  auto mounts = volumes_.mounts_of(child);
  if (is_sealed()) {
    if (!is_inside(child)) {
      const std::string own = paths_.runtime + "/etc/helper_resolv.conf";
      if (::access(own.c_str(), F_OK) == 0 && ::access("/etc/resolv.conf", F_OK) == 0) {
        mounts.push_back({own, "/etc/resolv.conf", true});
      }
      return mounts;
    }
    for (const char* name : {"resolv.conf", "nsswitch.conf"}) {
      const std::string source = paths_.runtime + "/etc/" + name;
      const std::string target = std::string("/etc/") + name;
      if (::access(source.c_str(), F_OK) == 0 && ::access(target.c_str(), F_OK) == 0) {
        mounts.push_back({source, target, true});
      }
    }
  }
  const bool is_captured =
      child.role == config::Role::App || child.role == config::Role::Init || child.capture;
  const bool has_virtual_names = is_captured || is_sealed();
  const std::string hosts =
      paths_.runtime + (has_virtual_names ? "/etc/hosts" : "/etc/helper_hosts");
  if (::access(hosts.c_str(), F_OK) == 0 && ::access("/etc/hosts", F_OK) == 0) {
    mounts.push_back({hosts, "/etc/hosts", true});
  }
  return mounts;
}

std::vector<std::pair<std::string, int>> ServiceSetup::listeners_of(
    const std::string& child) const {
  std::vector<std::pair<std::string, int>> result;
  for (const ListenerPlan& plan : listener_plans_) {
    const auto found = listeners_.find(plan.stored_name());
    if (plan.child == child && found != listeners_.end()) {
      result.emplace_back(plan.name, found->second.get());
    }
  }
  const config::Child* proxy = service_.using_component(config::Component::Proxy);
  if (broker_client_ && proxy != nullptr && proxy->name == child) {
    result.emplace_back(kBrokerListener, broker_client_.get());
  }
  return result;
}

bool ServiceSetup::is_inside(const config::Child& child) const {
  return !is_sealed() || !child.use || child.capture;
}

int ServiceSetup::network_namespace_of(const config::Child& child) const {
  return is_inside(child) ? network_namespace_.get() : -1;
}

std::vector<std::string> ServiceSetup::remarks() const {
  std::vector<std::string> remarks;
  if (!cgroups_.enforces_limits()) remarks.push_back(cgroups_.describe());
  remarks.insert(remarks.end(), volumes_.remarks().begin(), volumes_.remarks().end());
  remarks.insert(remarks.end(), warnings_.begin(), warnings_.end());
  if (!privileges_.is_root) {
    remarks.emplace_back("not root: every child runs as this user, users in the file are ignored");
  }
  return remarks;
}

}  // namespace pillion::supervisor::host
