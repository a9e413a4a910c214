// Schema of a child: [app], [init.NAME], [adapter.NAME], [ambassador.NAME], [sidecar.NAME]. One
// function is longer than 70 lines because it is one table, a line or two per key.
#include "config/child.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {
namespace {

// The schema of the `config` table that `use` chooses.
template<class T>
void read_component(Reader& reader, const Node& node, Child& child) {
  T config{};
  read_table(schema_of<T>(), reader, node, &config);
  child.config = std::move(config);
}

void read_config(Reader& reader, const Node& node, void* object) {
  Child& child = *static_cast<Child*>(object);
  if (!child.use) return;  // reported by check_child
  switch (*child.use) {
    case Component::Proxy: return read_component<ProxyConfig>(reader, node, child);
    case Component::Logs: return read_component<LogsConfig>(reader, node, child);
    case Component::Secrets: return read_component<SecretsConfig>(reader, node, child);
    case Component::Egress: return read_component<EgressConfig>(reader, node, child);
    case Component::Metrics: return read_component<MetricsConfig>(reader, node, child);
  }
}

struct ComponentWriter {
  std::optional<Node> operator()(const std::monostate&) const { return std::nullopt; }
  template<class T>
  std::optional<Node> operator()(const T& config) const {
    return write_table(schema_of<T>(), &config);
  }
};

std::optional<Node> write_config(const void* object) {
  return std::visit(ComponentWriter{}, static_cast<const Child*>(object)->config);
}

Field config_field() {
  Field field{"config",    "The component's own table; what it may hold depends on `use`.",
              {},          {},
              read_config, write_config};
  field.type.kind = Type::Kind::Table;
  field.type.name = "table";
  field.type.alternatives = {{name_of(Component::Proxy), &schema_of<ProxyConfig>},
                             {name_of(Component::Logs), &schema_of<LogsConfig>},
                             {name_of(Component::Secrets), &schema_of<SecretsConfig>},
                             {name_of(Component::Egress), &schema_of<EgressConfig>},
                             {name_of(Component::Metrics), &schema_of<MetricsConfig>}};
  return field;
}

}  // namespace

template<>
const TableSchema& schema_of<Requests>() {
  static const TableSchema schema =
      TableBuilder<Requests>("Requests", "Weights for when the machine is full; no reservation.")
          .field("cpu", &Requests::cpu, "cpu.weight.", {.min = 1})
          .field(
              "memory", &Requests::memory,
              "memory.low: reclaimed only when there is nothing else; a soft limit on cgroup v1.")
          .field("memory_min", &Requests::memory_min,
                 "memory.min: never reclaimed. Needs cgroup v2.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<IoLimit>() {
  static const TableSchema schema =
      TableBuilder<IoLimit>("I/O limit", "Bounds on one block device; not given is not bounded.")
          .field("device", &IoLimit::device,
                 "The block device, such as \"/dev/vda\", or any path on its file system.",
                 {.required = true, .form = Form::AbsolutePath})
          .field("read_bandwidth", &IoLimit::read_bandwidth, "Bytes read per second.", {.min = 1})
          .field("write_bandwidth", &IoLimit::write_bandwidth, "Bytes written per second.",
                 {.min = 1})
          .field("read_iops", &IoLimit::read_iops, "Read operations per second.", {.min = 1})
          .field("write_iops", &IoLimit::write_iops, "Write operations per second.", {.min = 1})
          .finish([](Reader& reader, const Node& node, IoLimit& limit) {
            if (limit.read_bandwidth || limit.write_bandwidth || limit.read_iops ||
                limit.write_iops) {
              return;
            }
            reader.error(node.position, "this I/O limit bounds nothing",
                         {"give `read_bandwidth`, `write_bandwidth`, `read_iops` or "
                          "`write_iops`"});
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Limits>() {
  static const TableSchema schema =
      TableBuilder<Limits>("Limits", "Per child, by its cgroup; unlimited when not given.")
          .field("cpu", &Limits::cpu, "CPU time per time.", {.min = 10})
          .field("memory", &Limits::memory, "Above it the kernel kills.", {.min = 1 << 20})
          .field("memory_high", &Limits::memory_high, "Above it the kernel reclaims and throttles.",
                 {.min = 1 << 20})
          .field("swap", &Limits::swap,
                 "Swap beside the memory; on cgroup v1 only together with `memory`.")
          .field("pids", &Limits::pids, "Processes and threads.", {.min = 1})
          .field("io_weight", &Limits::io_weight,
                 "Share of disk time; 100 is the kernel's default.", {.min = 1, .max = 10000})
          .field("io", &Limits::io, "Bounds per block device.", {.hide_default = true})
          .field("cpuset", &Limits::cpuset, "CPUs to run on, such as \"0-3,8\".",
                 {.form = Form::NumberList})
          .field("memory_nodes", &Limits::memory_nodes,
                 "NUMA nodes to take memory from, such as \"0\".", {.form = Form::NumberList})
          .field("open_files", &Limits::open_files, "RLIMIT_NOFILE.", {.min = 16})
          .field("core_size", &Limits::core_size, "RLIMIT_CORE.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Backoff>() {
  static const TableSchema schema =
      TableBuilder<Backoff>("Restart back-off",
                            "The first restart is immediate; then `base`, doubled up to `max`.")
          .field("base", &Backoff::base, "First wait.", {.min = 1})
          .field("max", &Backoff::max, "Longest wait.", {.min = 1})
          .field("jitter", &Backoff::jitter, "Spread of each wait, as a share.", {.max = 1})
          .field("reset_after", &Backoff::reset_after,
                 "Running so long makes the next restart immediate again.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Hardening>() {
  static const TableSchema schema =
      TableBuilder<Hardening>("Hardening", "On by default; switch off what the program needs.")
          .field("no_new_privileges", &Hardening::no_new_privileges,
                 "No setuid program gains anything.")
          .field("private_tmp", &Hardening::private_tmp,
                 "Own /tmp and /var/tmp, in memory, empty at each start. What of `command` and "
                 "`working_directory` lies there stays visible.")
          .field("tmp_size", &Hardening::tmp_size, "Size of each of the two.", {.min = 64 << 10})
          .field("private_devices", &Hardening::private_devices,
                 "A /dev with null, zero, full, random, urandom, tty, pts, shm and no hardware.")
          .field("read_only_system", &Hardening::read_only_system,
                 "/usr, /boot, /etc and the kernel's settings in /proc and /sys cannot be written.")
          .field("writable_paths", &Hardening::writable_paths,
                 "Exceptions from `read_only_system` and `landlock`; must exist.",
                 {.form = Form::AbsolutePath})
          .field("hide_processes", &Hardening::hide_processes,
                 "Other users' processes do not show in /proc.")
          .field(
              "seccomp", &Hardening::seccomp,
              "Deny system calls that no service needs. Listed `capabilities` take what they are "
              "for off the list.")
          .field("seccomp_allow", &Hardening::seccomp_allow,
                 "Taken off the list: names of system calls, and groups such as \"@mount\".",
                 {.form = Form::SystemCall})
          .field("seccomp_deny", &Hardening::seccomp_deny, "Added to the list.",
                 {.form = Form::SystemCall})
          .field("seccomp_action", &Hardening::seccomp_action,
                 "A denied call fails, is let through and logged by the kernel, or kills.")
          .field("landlock", &Hardening::landlock,
                 "The same paths read-only by Landlock, also without privilege, and no signals to "
                 "processes outside; where the kernel has it.")
          .field("pid_namespace", &Hardening::pid_namespace,
                 "Own process numbers for each run of the child, or for the service, under an init "
                 "that "
                 "reaps.")
          .field("user_namespace", &Hardening::user_namespace,
                 "The child is root in a user namespace, and its `user` outside.")
          .field("required", &Hardening::required,
                 "What this machine cannot do is an error, not a warning.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ChildPort>() {
  static const TableSchema schema =
      TableBuilder<ChildPort>("Port", "A port that the child listens on.")
          .field("name", &ChildPort::name, "For probes, logs and metrics.",
                 {.form = Form::Name, .hide_default = true})
          .field("port", &ChildPort::port, "The number.", {.required = true})
          .field("protocol", &ChildPort::protocol,
                 "What is spoken on it; saying so spares the proxy guessing.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<OutputLog>() {
  static const TableSchema schema =
      TableBuilder<OutputLog>("Output log", "Standard output and error, kept in rotated files.")
          .field("max_size", &OutputLog::max_size, "Rotated above it.", {.min = 64 << 10})
          .field("max_files", &OutputLog::max_files, "Rotated files that are kept.",
                 {.min = 1, .max = 100})
          .field(
              "buffer", &OutputLog::buffer,
              "What may wait in memory for the disk, for each of the two streams, beside the 1MiB "
              "of its pipe. A new value counts from the service's next start on.",
              {.min = 64 << 10, .max = 1 << 30})
          .field(
              "when_full", &OutputLog::when_full,
              "When the buffer is full: `drop` loses records, counts them and marks the place in "
              "the log; `block` loses nothing and lets the child wait in its next write.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Child>() {
  static const TableSchema schema =
      TableBuilder<Child>("Child", "One program of the service.")
          .field("use", &Child::use, "A component of Pillion's own.")
          .field("command", &Child::command, "Any other program: path and arguments; no shell.",
                 {.form = Form::Command, .hide_default = true})
          .custom(config_field())
          .field("after", &Child::after,
                 "Children that must have started before; beside the order of the roles.",
                 {.form = Form::Name})
          .field("user", &Child::user, "User, and with it the primary group.",
                 {.computed_default = "the supervisor's; `pillion-COMPONENT` with `use`"})
          .field("group", &Child::group, "Primary group.", {.computed_default = "the user's"})
          .field("supplementary_groups", &Child::supplementary_groups, "Further groups.")
          .field("working_directory", &Child::working_directory, "Where the program starts.",
                 {.form = Form::AbsolutePath})
          .field("env", &Child::env, "Environment variables.")
          .field("env_file", &Child::env_file,
                 "Files of KEY=VALUE lines, with # comments and quoted values; `env` wins.",
                 {.form = Form::AbsolutePath})
          .field("inherit_env", &Child::inherit_env,
                 "Variables of the supervisor that are passed on; nothing else is.",
                 {.form = Form::VariableName})
          .field("mounts", &Child::mounts, "Volumes that the child sees.")
          .field("ports", &Child::ports, "Ports that the child listens on.")
          .field("requests", &Child::requests, "Weights.")
          .field("limits", &Child::limits, "Limits.")
          .field("oom_group", &Child::oom_group, "Out of memory ends all its processes together.")
          .field("oom_score_adjust", &Child::oom_score_adjust, "Of its processes.",
                 {.min = -1000, .max = 1000})
          .field("nice", &Child::nice, "Scheduling priority.", {.min = -20, .max = 19})
          .field("umask", &Child::umask, "File mode creation mask.")
          .field("capabilities", &Child::capabilities, "Ambient capabilities; none by default.",
                 {.form = Form::Capability})
          .field("hardening", &Child::hardening, "Confinement.")
          .field("capture", &Child::capture, "Intercept a helper's own traffic too.",
                 {.computed_default = "true for the app and init tasks, else false"})
          .field("startup_probe", &Child::startup_probe,
                 "Until it succeeds the child has not started, and no other probe runs.")
          .field("readiness_probe", &Child::readiness_probe,
                 "Whether the child is ready for traffic.")
          .field("liveness_probe", &Child::liveness_probe, "Restarts the child when it fails.")
          .field("gate", &Child::gate, "When the child counts as started.", {.hide_default = true})
          .field("scrape", &Child::scrape,
                 "The child's own metrics, merged into those of the service. Components of "
                 "Pillion's own are scraped without it.")
          .field("start_timeout", &Child::start_timeout,
                 "From exec to started; 0 waits for ever. A startup probe has its own limit.")
          .field("watchdog", &Child::watchdog,
                 "Restart when `WATCHDOG=1` has not come for so long.", {.min = 100})
          .field("post_start", &Child::post_start, "Runs after exec, before the gate.")
          .field("pre_stop", &Child::pre_stop, "Runs at the begin of a stop.")
          .field("stop_signal", &Child::stop_signal, "Asks the child to end.")
          .field("signal_scope", &Child::signal_scope,
                 "Who gets it: the main process, its process group or the whole cgroup.")
          .field("restart", &Child::restart, "When an ended child is started again.",
                 {.computed_default = "\"always\"; \"on-failure\" for init tasks"})
          .field("backoff", &Child::backoff, "Waits between restarts.")
          .field("max_restarts", &Child::max_restarts,
                 "Restarts within `restart_window` before giving up.",
                 {.computed_default = "never give up"})
          .field("restart_window", &Child::restart_window, "See `max_restarts`.", {.min = 1000})
          .field("on_give_up", &Child::on_give_up,
                 "Then: leave it down, stop the service, or stop and exit with 70.")
          .field("success_exit_codes", &Child::success_exit_codes,
                 "Exit codes that count as success, beside 0.", {.max = 255})
          .field("exit_actions", &Child::exit_actions,
                 "Exit code to action, such as `{ 42 = \"restart_all\" }`.")
          .field("output_log", &Child::output_log, "Captured output.")
          .exactly_one({"use", "command"})
          .finish([](Reader& reader, const Node& node, Child& child) {
            // Without a `config` table the component still needs what is required in it.
            if (child.use && node.find("config") == nullptr) {
              const Reader::Scope scope(reader, "config");
              Node empty = Node::table();
              empty.position = node.position;
              read_config(reader, empty, &child);
            }
            check_child(reader, node, child);
          })
          .done();
  return schema;
}

}  // namespace pillion::config
