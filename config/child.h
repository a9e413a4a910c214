// One program of a service: an init task, a helper (adapter, ambassador, sidecar) or the app.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/egress.h"
#include "config/logs.h"
#include "config/metrics.h"
#include "config/names.h"
#include "config/probe.h"
#include "config/proxy.h"
#include "config/secrets.h"
#include "config/units.h"

namespace pillion::config {

// In start order.
enum class Role { Init, Adapter, Ambassador, Sidecar, App };
PILLION_NAMES(Role, {Role::Init, "init"}, {Role::Adapter, "adapter"},
              {Role::Ambassador, "ambassador"}, {Role::Sidecar, "sidecar"}, {Role::App, "app"});

enum class Component { Proxy, Logs, Secrets, Egress, Metrics };
PILLION_NAMES(Component, {Component::Proxy, "proxy"}, {Component::Logs, "logs"},
              {Component::Secrets, "secrets"}, {Component::Egress, "egress"},
              {Component::Metrics, "metrics"});

using ComponentConfig = std::variant<std::monostate, ProxyConfig, LogsConfig, SecretsConfig,
                                     EgressConfig, MetricsConfig>;

// Requests weigh (cpu.weight, memory.low), they do not reserve.
struct Requests {
  std::optional<MilliCpu> cpu;
  std::optional<Bytes> memory;
  std::optional<Bytes> memory_min;  // never reclaimed, cgroup v2 only
  bool operator==(const Requests&) const = default;
};

// Bounds on one block device; empty = none. Bandwidths are per second.
struct IoLimit {
  std::string device;  // a block device, or any path on its file system
  std::optional<Bytes> read_bandwidth;
  std::optional<Bytes> write_bandwidth;
  std::optional<unsigned> read_iops;
  std::optional<unsigned> write_iops;
  bool operator==(const IoLimit&) const = default;
};

// Empty = no limit.
struct Limits {
  std::optional<MilliCpu> cpu;
  std::optional<Bytes> memory;
  std::optional<Bytes> memory_high;  // throttled and reclaimed above it
  std::optional<Bytes> swap;
  std::optional<unsigned> pids;
  std::optional<unsigned> io_weight;  // 1–10000
  std::vector<IoLimit> io;
  std::optional<std::string> cpuset;        // "0-3,8"
  std::optional<std::string> memory_nodes;  // NUMA nodes, as cpuset
  std::optional<unsigned> open_files;       // RLIMIT_NOFILE
  std::optional<Bytes> core_size;           // RLIMIT_CORE; 0 unless given
  bool operator==(const Limits&) const = default;
};

enum class RestartPolicy { Always, OnFailure, Never };
PILLION_NAMES(RestartPolicy, {RestartPolicy::Always, "always"},
              {RestartPolicy::OnFailure, "on-failure"}, {RestartPolicy::Never, "never"});

enum class GiveUp { Hold, StopService, Exit };
PILLION_NAMES(GiveUp, {GiveUp::Hold, "hold"}, {GiveUp::StopService, "stop_service"},
              {GiveUp::Exit, "exit"});

enum class ExitAction { Restart, RestartAll, Stop, Hold };
PILLION_NAMES(ExitAction, {ExitAction::Restart, "restart"}, {ExitAction::RestartAll, "restart_all"},
              {ExitAction::Stop, "stop"}, {ExitAction::Hold, "hold"});

// First restart at once, then min(base·2ⁿ, max), spread by ±jitter.
struct Backoff {
  std::chrono::milliseconds base{1'000};
  std::chrono::milliseconds max{60'000};
  double jitter = 0.2;  // 0–1
  std::chrono::milliseconds reset_after{600'000};
  bool operator==(const Backoff&) const = default;
};

enum class SignalScope { Main, Group, Cgroup };
PILLION_NAMES(SignalScope, {SignalScope::Main, "main"}, {SignalScope::Group, "group"},
              {SignalScope::Cgroup, "cgroup"});

enum class PidNamespace { Host, Child, Service };
PILLION_NAMES(PidNamespace, {PidNamespace::Host, "host"}, {PidNamespace::Child, "child"},
              {PidNamespace::Service, "service"});

enum class SeccompAction { Error, Log, Kill };
PILLION_NAMES(SeccompAction, {SeccompAction::Error, "error"}, {SeccompAction::Log, "log"},
              {SeccompAction::Kill, "kill"});

// On by default, relaxed per child.
struct Hardening {
  bool no_new_privileges = true;
  bool private_tmp = true;
  Bytes tmp_size = mebibytes(256);          // of /tmp, and of /var/tmp
  bool private_devices = true;              // a /dev without disks and other hardware
  bool read_only_system = true;             // /usr, /boot, /etc, the kernel's settings
  std::vector<std::string> writable_paths;  // exceptions from read_only_system and landlock
  bool hide_processes = true;               // other users' /proc entries
  bool seccomp = true;                      // the deny-list
  std::vector<std::string> seccomp_allow;   // taken off it: system calls and "@groups"
  std::vector<std::string> seccomp_deny;    // added to it
  SeccompAction seccomp_action = SeccompAction::Error;
  bool landlock = true;  // where the kernel has it
  PidNamespace pid_namespace = PidNamespace::Host;
  bool user_namespace = false;  // root inside is the child's user outside
  bool required = false;        // what cannot be had is an error, not a warning
  bool operator==(const Hardening&) const = default;
};

enum class AppProtocol { Auto, Http, Http2, Grpc, Tcp, Tls, Udp };
PILLION_NAMES(AppProtocol, {AppProtocol::Auto, "auto"}, {AppProtocol::Http, "http"},
              {AppProtocol::Http2, "http2"}, {AppProtocol::Grpc, "grpc"}, {AppProtocol::Tcp, "tcp"},
              {AppProtocol::Tls, "tls"}, {AppProtocol::Udp, "udp"});

struct ChildPort {
  std::string name;
  Port port = 0;
  AppProtocol protocol = AppProtocol::Auto;
  bool operator==(const ChildPort&) const = default;
};

// Of what a child says faster than its log can be written.
enum class WhenFull { Drop, Block };
PILLION_NAMES(WhenFull, {WhenFull::Drop, "drop"}, {WhenFull::Block, "block"});

struct OutputLog {
  Bytes max_size = mebibytes(10);
  unsigned max_files = 5;
  Bytes buffer = mebibytes(4);
  WhenFull when_full = WhenFull::Drop;
  bool operator==(const OutputLog&) const = default;
};

struct Child {
  std::string name;  // the table's key; "app" for the app
  Role role = Role::App;

  // Exactly one of `use` and `command`.
  std::optional<Component> use;
  std::vector<std::string> command;  // [0] is an absolute path
  ComponentConfig config;            // holds the alternative of `use`, else monostate
  std::vector<std::string> after;    // names of children that must have started

  std::optional<UserRef> user;  // empty = the supervisor's user; set for `use`
  std::optional<GroupRef> group;
  std::vector<GroupRef> supplementary_groups;
  std::string working_directory = "/";
  std::map<std::string, std::string> env;
  std::vector<std::string> env_file;     // absolute paths of KEY=VALUE files; `env` wins
  std::vector<std::string> inherit_env;  // names passed on from the supervisor
  std::vector<Mount> mounts;
  std::vector<ChildPort> ports;

  Requests requests;
  Limits limits;
  bool oom_group = true;  // memory.oom.group
  int oom_score_adjust = 0;
  int nice = 0;
  FileMode umask{022};
  std::vector<std::string> capabilities;  // "CAP_NET_BIND_SERVICE"; ambient
  Hardening hardening;
  bool capture = false;  // helpers: intercept their traffic too. Always true for app and init

  std::optional<Probe> startup_probe;
  std::optional<Probe> readiness_probe;
  std::optional<Probe> liveness_probe;
  Gate gate;
  std::optional<Scrape> scrape;                     // components are scraped without it
  std::chrono::milliseconds start_timeout{60'000};  // 0 = wait for ever
  std::optional<std::chrono::milliseconds> watchdog;
  std::optional<Hook> post_start;
  std::optional<Hook> pre_stop;
  Signal stop_signal;
  SignalScope signal_scope = SignalScope::Main;

  RestartPolicy restart = RestartPolicy::Always;  // on-failure for init tasks
  Backoff backoff;
  std::optional<unsigned> max_restarts;  // within restart_window; empty = never give up
  std::chrono::milliseconds restart_window{600'000};
  GiveUp on_give_up = GiveUp::Hold;
  std::vector<unsigned> success_exit_codes;  // beside 0
  std::map<unsigned, ExitAction> exit_actions;
  OutputLog output_log;

  bool operator==(const Child&) const = default;
};

}  // namespace pillion::config
