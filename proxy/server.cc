#include "proxy/server.h"

#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "proxy/admin.h"
#include "runtime/log.h"
#include "runtime/start_memory.h"

namespace pillion::proxy {
namespace {

constexpr std::chrono::milliseconds kDrainCheck{50};
constexpr std::chrono::seconds kFirstResolution{5};
constexpr std::chrono::milliseconds kMemoryCheck{250};
constexpr unsigned kChecksSkipped = 8;  // while there is no limit
constexpr std::size_t kDescriptorsMin = 64;

// Eight random hexadecimal digits in the form of a Via comment.
std::string make_via_token() {
  RandomSource random;
  return fmt::format("({:08x})", static_cast<std::uint32_t>(random.next_u64()));
}

// As many descriptors as we may have: each exchange needs two.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Null when there are none.
std::shared_ptr<const RuleSet> share(RuleSet rules) {
  if (rules.is_empty(Direction::Inbound) && rules.is_empty(Direction::Outbound)) return nullptr;
  return std::make_shared<const RuleSet>(std::move(rules));
}

// What our supervisor grants; on our own, what the configuration says. See begin_shutdown().
Duration longest_drain(const config::ProxyConfig& config) {
  const bool is_granted = std::getenv("PILLION_DRAIN_SECONDS") != nullptr;
  return is_granted ? drain_timeout_from_environment() : Duration(config.drain.maximum);
}

std::string text_of_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::vector<Neighbour> read_neighbours(const std::string& path) {
  if (path.empty()) return {};
  const auto text = read_file(path);
  return text ? parse_neighbours(*text) : std::vector<Neighbour>{};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(config::ProxyConfig config,
                                               InheritedListeners inherited, Reload reload) {
  raise_descriptor_limit();
  auto rules = RuleSet::compile(config.rules, config.upstreams);
  if (!rules) return fail(rules.error());
  std::unique_ptr<Server> server(
      new Server(std::move(config), share(std::move(*rules)), std::move(reload)));
  auto tls = load_tls(server->snapshot_->config());
  if (!tls) return fail(tls.error());
  server->tls_ = std::move(*tls);
  if (auto opened = server->open_listeners(inherited); !opened) return fail(opened.error());
  if (server->snapshot_->config().access_log.enabled) {
    auto log = AccessLog::create(server->snapshot_->config().access_log);
    if (!log) return fail(log.error());
    server->access_log_ = std::move(*log);
  }
  server->start_workers();
  return server;
}

Server::Server(config::ProxyConfig config, RulesPointer rules, Reload reload)
    : notifier_(Notifier::from_environment()),
      started_at_(SystemClock().now()),
      reload_(std::move(reload)),
      accepted_(std::move(config)),
      rules_(std::move(rules)),
      neighbours_file_(text_of_variable("PILLION_NEIGHBOURS")),
      neighbours_(read_neighbours(neighbours_file_)),
      snapshot_(std::make_shared<const Snapshot>(accepted_, neighbours_, rules_)),
      via_token_(make_via_token()) {
  wakeup_ = std::make_unique<Wakeup>(loop_, [this] {
    std::vector<std::function<void()>> batch;
    {
      const std::lock_guard lock(tasks_mutex_);
      batch.swap(tasks_);
    }
    for (const auto& task : batch) task();
  });
}

Server::~Server() {
  admin_.reset();  // it looks at the workers
  for (auto& worker : workers_) worker->stop();
  workers_.clear();
}

SnapshotPointer Server::snapshot() const {
  const std::lock_guard lock(snapshot_mutex_);
  return snapshot_;
}

AppPorts Server::app_ports() const {
  const std::lock_guard lock(snapshot_mutex_);
  return app_ports_;
}

TlsPointer Server::tls() const {
  const std::lock_guard lock(snapshot_mutex_);
  return tls_;
}

std::vector<std::string> Server::listener_names() const {
  std::vector<std::string> names;
  for (const OpenListener& listener : listeners_) names.push_back(listener.info.name);
  return names;
}

// ---- Start --------------------------------------------------------------------------------------

void Server::start_workers() {
  const config::ProxyConfig& config = snapshot_->config();
  for (unsigned i = 0; i < std::max(config.workers, 1u); ++i) {
    workers_.push_back(std::make_unique<Worker>(
        via_token_, access_log_.get(), config.access_log.format, app_sockets_.get(),
        static_cast<std::size_t>(config.limits.connection_buffer.value)));
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  for (auto& worker : workers_) {
    const std::size_t share = limit.rlim_cur / 2 / workers_.size();
    worker->set_connections_max(std::max(share, kDescriptorsMin));
    worker->set_memory_check([this] { return look_if_near(); });
  }
}

// Sets the level of overload by the memory in use. Any thread.
MemoryUse Server::look_at_memory(bool is_periodic) {
  const std::lock_guard lock(memory_mutex_);
  const MemoryUse use = memory_.read();
  const OverloadLevel before = status_.overload;
  const OverloadLevel level = next_overload_level(before, use.share, snapshot()->config().overload);
  // Where others of the group hold nearly all of it, ending our exchanges would not help them.
  const std::uint64_t excess =
      ends_largest(level, use) ? excess_of(use, snapshot()->config().overload) : 0;
  const Shedding shedding{excess / workers_.size(), use.limit / 16, use.counts_sockets};
  const bool concerns_workers =
      level != before || excess > 0 || (is_periodic && level != OverloadLevel::Normal);
  for (auto& worker : workers_) {
    worker->set_overload(level);
    if (concerns_workers) worker->post([one = worker.get(), shedding] { one->shed(shedding); });
  }
  if (level == before) return use;
  status_.overload = level;
  const int percent = static_cast<int>(use.share * 100);
  if (level == OverloadLevel::Normal) {
    log::info("{} % of the memory limit is in use: serving as usual", percent);
  } else {
    log::warn("{} % of the memory limit is in use: {}", percent, overload_level_name(level));
  }
  return use;
}

// A worker's, in each millisecond with events, and with every 512 KiB that it has received.
bool Server::look_if_near() {
  {
    const double share = snapshot()->config().overload.drain_at;
    const std::lock_guard lock(memory_mutex_);
    const bool is_normal = status_.overload == OverloadLevel::Normal;
    if (!(is_normal ? memory_.may_reach(share) : memory_.has_grown())) return false;
  }
  const MemoryUse use = look_at_memory(false);
  return ends_largest(status_.overload, use);
}

void Server::watch_memory() {
  if (is_start_memory_held_) {
    is_start_memory_held_ = false;
    return_start_memory();
  }
  if (memory_checks_skipped_ > 0) {
    --memory_checks_skipped_;
    return;
  }
  memory_checks_skipped_ = look_at_memory(true).limit != 0 ? 0 : kChecksSkipped;
  if (status_.overload != OverloadLevel::Normal) malloc_trim(0);
}

// Where the app is when we start; a proxy that runs is told by POST /app_ports.
void Server::find_app() {
  AppPorts ports(snapshot_->config().inbound.ports);
  const char* text = std::getenv("PILLION_APP_PORTS");
  if (text != nullptr && *text != '\0') {
    const auto moves = parse_app_ports(text, ports);
    if (moves) ports = ports.moved(*moves);
    if (!moves) log::error("PILLION_APP_PORTS: {}", moves.error().message());
  }
  set_app_ports(std::move(ports), nullptr);
}

// Ahead of whatever the workers are posted later.
void Server::set_app_ports(AppPorts ports, std::function<void()> on_done) {
  {
    const std::lock_guard lock(snapshot_mutex_);
    app_ports_ = ports;
  }
  auto left = std::make_shared<std::atomic<std::size_t>>(workers_.size());  // shared by the tasks
  for (auto& worker : workers_) {
    worker->post([one = worker.get(), ports, left, on_done] {
      one->set_app_ports(ports);
      if (--*left == 0 && on_done) on_done();
    });
  }
}

void Server::move_app(std::vector<AppPort> moves, std::function<void()> on_done) {
  post([this, moves = std::move(moves), on_done = std::move(on_done)] {
    for (const AppPort& one : moves) {
      log::info("the app's port {} is served on {} from now on", one.port, one.app_port);
    }
    set_app_ports(app_ports_.moved(moves), on_done);
  });
}

void Server::start_resolver() {
  resolver_ = std::make_unique<Resolver>(
      loop_, snapshot_,
      [this](std::size_t upstream, const std::vector<Address>& addresses) {
        for (auto& worker : workers_) {
          worker->post([one = worker.get(), upstream, addresses] {
            one->set_resolved(upstream, addresses);
          });
        }
      },
      [this] { on_first_resolution(); });
  for (auto& worker : workers_) {
    worker->post(
        [one = worker.get(), snapshot = snapshot_, tls = tls_, resolved = resolver_->addresses()] {
          one->set_snapshot(snapshot, resolved, tls);
        });
  }
}

void Server::on_first_resolution() {
  if (status_.is_started) return;
  if (first_resolution_) first_resolution_->stop();
  for (auto& worker : workers_) {
    // A client's datagrams must all come to the worker that has its session.
    worker->post([one = worker.get(), is_first = worker == workers_.front(), this] {
      for (const OpenListener& listener : listeners_) {
        if (listener.info.is_datagram && !is_first) continue;
        one->add_listener(listener.fd.get(), listener.info);
      }
    });
  }
  status_.is_started = true;
  notifier_.ready();
  notifier_.status("serving");
  log::info("ready: {} worker(s), {} upstream(s)", workers_.size(), snapshot_->upstreams().size());
}

int Server::run() {
  notifier_.status("resolving the names of the upstreams");
  find_app();
  start_resolver();
  // Tried is enough: a resolver that does not answer must not keep the whole service from starting.
  first_resolution_ = std::make_unique<Timer>(loop_);
  first_resolution_->start(kFirstResolution, [this] { on_first_resolution(); });
  for (auto& worker : workers_) worker->start();
  admin_ = std::make_unique<Admin>(*this, std::move(health_listener_),
                                   std::move(prometheus_listener_), std::move(admin_listener_));
  watch_certificates();
  follow_neighbours();
  hangup_ = std::make_unique<SignalWatch>(loop_, SIGHUP, [this] { reload(); });
  drain_ = std::make_unique<Drain>(
      loop_, longest_drain(snapshot_->config()), [this] { begin_shutdown(); }, [this] { quit(); });
  if (const auto period = notifier_.watchdog_period()) {
    watchdog_ = std::make_unique<Timer>(loop_);
    watchdog_->start(*period, *period, [this] { notifier_.send("WATCHDOG=1"); });
  }
  memory_check_ = std::make_unique<Timer>(loop_);
  memory_check_->start(kMemoryCheck, kMemoryCheck, [this] { watch_memory(); });
  loop_.run();

  admin_.reset();
  dns_.reset();
  for (auto& worker : workers_) worker->stop();
  send_receipt();
  access_log_.reset();
  // A look-up can take half a minute and cannot be cancelled: nothing is left that it could change.
  if (resolver_ && resolver_->is_busy()) _exit(0);
  resolver_.reset();
  certificate_watch_.reset();
  neighbour_watch_.reset();
  watchdog_.reset();
  first_resolution_.reset();
  drain_minimum_.reset();
  drain_maximum_.reset();
  drain_check_.reset();
  hangup_.reset();
  drain_.reset();
  memory_check_.reset();
  workers_.clear();
  wakeup_.reset();
  return 0;
}

void Server::reload() {
  is_start_memory_held_ = true;
  auto config = reload_();
  if (!config) {
    ++status_.reloads_rejected;
    notifier_.status("serving the previous configuration: the new one was refused");
    return;
  }
  auto tls = load_tls(*config);
  auto rules = RuleSet::compile(config->rules, config->upstreams);
  if (!tls || !rules) {
    ++status_.reloads_rejected;
    log::error("the new configuration is refused: {}",
               !tls ? tls.error().message() : rules.error().message());
    notifier_.status("serving the previous configuration: the new one was refused");
    return;
  }
  ++status_.reloads_accepted;
  if (*config == accepted_) {
    log::info("the configuration did not change");
    return;
  }
  accepted_ = std::move(*config);
  rules_ = share(std::move(*rules));
  neighbours_ = read_neighbours(neighbours_file_);
  set_app_ports(AppPorts(accepted_.inbound.ports, app_ports_.all()), nullptr);
  apply(std::move(*tls));
  follow_neighbours();
  watch_certificates();
  log::info("a new configuration is in force; open connections keep the one they began with");
}

void Server::apply(TlsPointer tls) {
  {
    const std::lock_guard lock(snapshot_mutex_);
    snapshot_ = std::make_shared<const Snapshot>(accepted_, neighbours_, rules_);
    tls_ = std::move(tls);
  }
  set_dns_names();
  resolver_.reset();
  start_resolver();
}

void Server::set_dns_names() {
  if (dns_) dns_->set_names(accepted_, neighbours_);
}

// ---- Other services of the host -----------------------------------------------------------------

void Server::follow_neighbours() {
  neighbour_watch_.reset();
  if (neighbours_file_.empty()) return;
  neighbour_watch_ = std::make_unique<FileWatch>(loop_, std::vector{neighbours_file_},
                                                 [this] { look_at_neighbours(); });
  look_at_neighbours();  // what changed since it was read
}

void Server::look_at_neighbours() {
  auto neighbours = read_neighbours(neighbours_file_);
  if (neighbours == neighbours_) return;
  neighbours_ = std::move(neighbours);
  apply(tls_);
  for (const Neighbour& neighbour : neighbours_) {
    const bool is_running = neighbour.state == NeighbourState::Running;
    log::debug("the service {} {}", neighbour.name, is_running ? "can be called" : "cannot");
  }
}

// ---- Certificates -------------------------------------------------------------------------------

void Server::watch_certificates() {
  const auto files = tls_files(snapshot_->config());
  certificate_watch_.reset();
  if (files.empty()) return;
  certificate_watch_ = std::make_unique<FileWatch>(loop_, files, [this] { rotate_certificates(); });
}

// The last good set stays until the files are whole and fit each other: a rotation replaces them
// one by one.
void Server::rotate_certificates() {
  auto tls = load_tls(snapshot_->config());
  if (!tls) {
    ++status_.tls_rotations_failed;
    log::warn("the certificates stay as they are: {}", tls.error().message());
    return;
  }
  if ((*tls)->files_digest == tls_->files_digest) return;
  {
    const std::lock_guard lock(snapshot_mutex_);
    tls_ = std::move(*tls);
  }
  ++status_.tls_rotations;
  for (auto& worker : workers_) {
    worker->post([one = worker.get(), tls = tls_] { one->set_tls(tls); });
  }
  log::info("new certificates are in force; open connections keep the ones they began with");
}

// ---- Drain --------------------------------------------------------------------------------------

void Server::post(std::function<void()> task) {
  const std::lock_guard lock(tasks_mutex_);
  tasks_.push_back(std::move(task));
  wakeup_->send();
}

void Server::request_drain() {
  post([this] { begin_inbound_drain(); });
}
void Server::request_shutdown() {
  post([this] { drain_->begin(); });
}
void Server::request_quit() {
  post([this] { quit(); });
}

// Inbound connections are told to go; the listeners stay open for the drain's minimum, because load
// balancers and clients learn of it late. Outbound is not touched (the app still works).
void Server::begin_inbound_drain() {
  if (is_inbound_draining_) return;
  is_inbound_draining_ = true;
  status_.is_draining = true;
  log::info("draining inbound connections");
  for (auto& worker : workers_) {
    worker->post([one = worker.get()] { one->begin_drain(); });
  }
  const auto minimum =
      std::min<Duration>(snapshot_->config().drain.minimum, drain_timeout_from_environment());
  drain_minimum_ = std::make_unique<Timer>(loop_);
  drain_minimum_->start(minimum, [this] { close_inbound(); });
}

void Server::close_inbound() {
  if (is_inbound_drained_) return;
  is_inbound_drained_ = true;
  for (auto& worker : workers_) {
    worker->post([one = worker.get()] {
      one->remove_listeners(true);
      one->close_drained();
    });
  }
  if (is_shutting_down_) check_drained();
}

void Server::begin_shutdown() {
  is_shutting_down_ = true;
  notifier_.stopping();
  begin_inbound_drain();
  // Our supervisor sends SIGTERM when the app is gone: there is nothing left to wait for.
  if (std::getenv("PILLION_SERVICE") != nullptr && !is_inbound_drained_) close_inbound();
  drain_maximum_ = std::make_unique<Timer>(loop_);
  drain_maximum_->start(snapshot_->config().drain.maximum, [this] { quit(); });
  drain_check_ = std::make_unique<Timer>(loop_);
  drain_check_->start(kDrainCheck, kDrainCheck, [this] { check_drained(); });
}

// Done when the inbound side is closed and nobody is busy; each worker answers for itself.
void Server::check_drained() {
  if (!is_inbound_drained_) return;
  auto left = std::make_shared<std::atomic<std::size_t>>(workers_.size());
  auto busy = std::make_shared<std::atomic<std::size_t>>(0);
  for (auto& worker : workers_) {
    worker->post([one = worker.get(), left, busy, this] {
      one->close_drained();
      busy->fetch_add(one->count_busy() + one->count_connections(Direction::Inbound));
      if (left->fetch_sub(1) == 1 && busy->load() == 0) post([this] { end_when_drained(); });
    });
  }
}

// The outbound side was served until now; who connects from here on waits in the sockets' queues
// for the next generation. What was accepted meanwhile still gets its answer.
void Server::end_when_drained() {
  if (is_outbound_closed_) return quit();
  is_outbound_closed_ = true;
  for (auto& worker : workers_) {
    worker->post([one = worker.get()] { one->remove_listeners(false); });
  }
  check_drained();
}

void Server::quit() {
  if (drain_) drain_->finish();
  if (drain_check_) drain_check_->stop();
  loop_.stop();
}

void Server::send_receipt() {
  std::uint64_t finished = 0, aborted = 0, tcp_finished = 0, tcp_aborted = 0;
  for (const auto& worker : workers_) {
    for (std::size_t direction = 0; direction < 2; ++direction) {
      finished += worker->stats().exchanges_finished[direction].value();
      aborted += worker->stats().exchanges_aborted[direction].value();
      tcp_finished += worker->stats().tcp_finished[direction].value();
      tcp_aborted += worker->stats().tcp_aborted[direction].value();
    }
  }
  notifier_.receipt({{"requests_finished", static_cast<long long>(finished)},
                     {"requests_aborted", static_cast<long long>(aborted)},
                     {"connections_finished", static_cast<long long>(tcp_finished)},
                     {"connections_aborted", static_cast<long long>(tcp_aborted)}});
  log::info("stopped: {} requests finished, {} aborted, {} connections finished, {} aborted",
            finished, aborted, tcp_finished, tcp_aborted);
}

}  // namespace pillion::proxy
