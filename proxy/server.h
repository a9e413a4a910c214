// The proxy as a whole: listeners, workers, access log, resolver, admin, reload and drain. Lives on
// the main thread's loop; workers and admin have threads of their own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "config/proxy.h"
#include "proxy/access_log.h"
#include "proxy/app_ports.h"
#include "proxy/dns/forwarder.h"
#include "proxy/file_watch.h"
#include "proxy/listener.h"
#include "proxy/resolver.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"
#include "runtime/drain.h"
#include "runtime/listeners.h"
#include "runtime/loop.h"
#include "runtime/notify.h"

namespace pillion::proxy {

class Admin;

// What the admin thread may see at any time.
struct ServerStatus {
  std::atomic<bool> is_started{false};  // listeners up, first resolution tried
  std::atomic<bool> is_draining{false};
  std::atomic<bool> is_health_failed{false};  // /healthcheck/fail
  std::atomic<std::uint64_t> reloads_accepted{0};
  std::atomic<std::uint64_t> reloads_rejected{0};

  std::atomic<OverloadLevel> overload{OverloadLevel::Normal};
  std::atomic<std::uint64_t> tls_rotations{0};
  std::atomic<std::uint64_t> tls_rotations_failed{0};

  bool is_ready() const { return is_started && !is_draining && !is_health_failed; }
};

class Server {
 public:
  // Loads the configuration again; empty when it is not acceptable (and was reported).
  using Reload = std::function<std::optional<config::ProxyConfig>()>;

  // Opens listeners and the log and starts the threads.
  static Result<std::unique_ptr<Server>> create(config::ProxyConfig config,
                                                InheritedListeners inherited, Reload reload);
  ~Server();

  // Serves until drained. The process's exit code.
  int run();

  // ---- For the admin thread.
  const ServerStatus& status() const { return status_; }
  ServerStatus& status() { return status_; }
  SnapshotPointer snapshot() const;
  TlsPointer tls() const;
  AppPorts app_ports() const;
  const std::vector<std::unique_ptr<Worker>>& workers() const { return workers_; }
  const AccessLog* access_log() const { return access_log_.get(); }
  const dns::Forwarder* dns_forwarder() const { return dns_.get(); }  // null: DNS is not captured
  std::vector<std::string> listener_names() const;
  bool forwards_datagrams() const;
  MonotonicTime started_at() const { return started_at_; }
  // New requests and connections go to the app's new ports; `on_done` runs on a worker's thread
  // when every worker has taken them over.
  void move_app(std::vector<AppPort> moves, std::function<void()> on_done);
  void request_drain();     // inbound only; the process goes on
  void request_shutdown();  // as SIGTERM
  void request_quit();      // at once

 private:
  struct OpenListener {
    Fd fd;
    ListenerInfo info;
  };

  using RulesPointer = std::shared_ptr<const RuleSet>;  // shared with snapshots; null: none

  Server(config::ProxyConfig config, RulesPointer rules, Reload reload);
  Result<void> open_listeners(InheritedListeners& inherited);
  Result<void> open_own_listeners();
  Result<void> open_dns(InheritedListeners& inherited);
  void add_listener(Fd fd, ListenerInfo info);
  void start_workers();
  void start_resolver();
  void find_app();
  void set_app_ports(AppPorts ports, std::function<void()> on_done);
  void on_first_resolution();
  void reload();
  void apply(TlsPointer tls);
  void follow_neighbours();
  void look_at_neighbours();
  void set_dns_names();
  void watch_certificates();
  void rotate_certificates();
  void begin_inbound_drain();
  void begin_shutdown();
  void close_inbound();
  void check_drained();
  void end_when_drained();
  void quit();
  void send_receipt();
  void watch_memory();
  MemoryUse look_at_memory(bool is_periodic);
  bool look_if_near();
  void post(std::function<void()> task);

  Loop loop_;
  Notifier notifier_;
  ServerStatus status_;
  const MonotonicTime started_at_;
  const Reload reload_;
  mutable std::mutex snapshot_mutex_;
  config::ProxyConfig accepted_;  // as loaded; the snapshot has the neighbours as well
  RulesPointer rules_;            // of `accepted_`
  // What the supervisor says of other services of the host (runtime/neighbours.h); "" = nothing.
  const std::string neighbours_file_;
  std::vector<Neighbour> neighbours_;  // of the file that the supervisor keeps
  SnapshotPointer snapshot_;
  AppPorts app_ports_;  // under snapshot_mutex_ too
  TlsPointer tls_;      // of the files as last good; under snapshot_mutex_ too
  std::string via_token_;
  std::vector<OpenListener> listeners_;
  std::optional<Fd> health_listener_;
  std::optional<Fd> prometheus_listener_;
  std::optional<Fd> admin_listener_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<SocketStock> app_sockets_;  // null: the app is in our own namespace
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<dns::Forwarder> dns_;

  std::mutex tasks_mutex_;
  std::vector<std::function<void()>> tasks_;
  std::unique_ptr<Wakeup> wakeup_;
  std::unique_ptr<FileWatch> certificate_watch_;
  std::unique_ptr<FileWatch> neighbour_watch_;
  std::unique_ptr<Timer> watchdog_;
  std::unique_ptr<Timer> first_resolution_;
  std::unique_ptr<Timer> drain_minimum_;
  std::unique_ptr<Timer> drain_maximum_;
  std::unique_ptr<Timer> drain_check_;
  std::unique_ptr<Timer> memory_check_;
  std::unique_ptr<SignalWatch> hangup_;
  std::unique_ptr<Drain> drain_;
  std::mutex memory_mutex_;  // workers look too
  MemoryGauge memory_;
  unsigned memory_checks_skipped_ = 0;
  bool is_start_memory_held_ = true;  // see start_memory.h
  bool is_inbound_drained_ = false;
  bool is_inbound_draining_ = false;
  bool is_outbound_closed_ = false;
  bool is_shutting_down_ = false;
};

}  // namespace pillion::proxy
