// Everything a service needs before its first child and gives back after its last: directories,
// cgroups, network namespace, volumes with their mount namespace, listening sockets. Made in that
// order; when a step fails, the steps before are undone. What must survive a restart of the
// supervisor is stored in the keeper.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/service.h"
#include "netns/facts.h"
#include "runtime/loop.h"
#include "supervisor/host/broker_process.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/command_run.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/listeners.h"
#include "supervisor/host/name_file_follower.h"
#include "supervisor/host/neighbour_watch.h"
#include "supervisor/host/network_record.h"
#include "supervisor/host/process_host.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {

// What we may do on this machine.
struct Privileges {
  bool is_root = false;      // may change users
  bool can_mount = false;    // CAP_SYS_ADMIN: namespaces and mounts
  bool can_network = false;  // CAP_NET_ADMIN: links and rules
};
Privileges own_privileges();

class ServiceSetup {
 public:
  using OnDone = std::function<void(Result<void>)>;

  ServiceSetup(Loop& loop, KeeperClient& keeper, ProcessHost& processes, Cgroups& cgroups,
               const config::Service& service, ServicePaths paths);

  // Removes what a crashed run left, then makes everything. `on_done` runs from the loop.
  void create(OnDone on_done);
  // After a restart of the supervisor: takes over from the keeper what create() made.
  void adopt();
  void enable_capture(OnDone on_done);
  // Connections go past the proxy until enable_capture() is called again.
  void lift_capture(OnDone on_done);
  // From now on other services of the host reach this one by its name, or no longer.
  void announce();
  void withdraw();
  // A reload to `after` is asked for: opens the listening sockets that it needs beside the ones
  // that are there. An error, with nothing changed, when one cannot be opened.
  Result<void> prepare_change(const config::Service& after);
  // It was refused.
  void drop_change() { next_listeners_.clear(); }
  // The service's configuration is the new one now: hands over the listeners, rewrites name files,
  // and loads capture rules anew where they differ; `on_captured` then runs from the loop.
  void apply_change(OnDone on_captured);
  // Nothing runs by the configuration before any more; `before` names its children.
  void forget_children(const std::vector<std::string>& before);

  // Gives everything back; always ends, problems are logged.
  void remove(std::function<void()> on_done);

  // The app's; probes of every child go there.
  int network_namespace() const { return network_namespace_.get(); }
  // That of the child's own process: -1 (the host's) for our helpers of a sealed service.
  int network_namespace_of(const config::Child& child) const;
  int mount_namespace() const { return mount_namespace_.get(); }
  std::vector<BindMount> mounts_of(const config::Child& child) const;
  // Names and descriptors, borrowed.
  std::vector<std::pair<std::string, int>> listeners_of(const std::string& child) const;
  const Privileges& privileges() const { return privileges_; }
  const NetworkRecord& network_record() const { return record_; }
  // What the proxy follows; "" = this service has no neighbours.
  std::string neighbours_file() const;
  // What people should know about this machine and service.
  std::vector<std::string> remarks() const;

 private:
  bool has_network() const;
  bool is_sealed() const { return service_.network.mode == config::NetworkMode::Sealed; }
  // Without root nothing can be pinned: the namespace lives by the keeper's descriptor.
  bool is_in_place() const { return is_sealed() && !privileges_.is_root; }
  bool is_inside(const config::Child& child) const;
  void start_broker();
  Result<void> open_broker();
  void remove_network(std::function<void()> on_done);
  Result<void> prepare_directories();
  Result<void> prepare_issued_directory();
  void remove_leaves(const char* whose);
  void remove_old_network(std::function<void()> then);
  void create_network();
  void on_network_created(const CommandResult& result);
  Result<void> open_network(const std::string& facts_json);
  Result<void> create_mounts();
  Result<void> create_listeners();
  const ListenerPlan* find_same_place(const ListenerPlan& plan) const;
  void hand_over_listeners();
  void recapture(OnDone on_captured);
  Result<void> write_name_files(const netns::Facts& facts);
  void follow_name_files();
  void follow_neighbours();
  Result<void> write_helper_resolv_conf();
  void finish_create(Result<void> result);
  void run_netns(const std::string& command, CommandRun::OnDone on_done);
  void release_descriptors();
  void remove_files();

  Loop& loop_;
  KeeperClient& keeper_;
  ProcessHost& processes_;
  Cgroups& cgroups_;
  const config::Service& service_;
  ServicePaths paths_;
  Privileges privileges_;
  Volumes volumes_;
  std::vector<ListenerPlan> listener_plans_;
  NetworkRecord record_;
  std::map<std::string, Fd> listeners_;  // by ListenerPlan::stored_name()
  std::map<std::string, Fd> next_listeners_;
  std::string wanted_;  // of the network, as the rules in force were made from
  Fd network_namespace_;
  Fd broker_client_;  // the proxy's end of the socket broker's channel; sealed only
  Fd broker_server_;
  BrokerProcess broker_;
  Fd mount_namespace_;
  std::vector<FileBind> name_files_;
  std::unique_ptr<NameFileFollower> follower_;
  ServiceRegistry registry_;
  std::unique_ptr<NeighbourWatch> neighbours_;
  std::vector<std::string> warnings_;
  std::unique_ptr<CommandRun> command_;
  Timer reply_;
  OnDone on_created_;
  int command_count_ = 0;
};

}  // namespace pillion::supervisor::host
