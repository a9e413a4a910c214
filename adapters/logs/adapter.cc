#include "adapters/logs/adapter.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

#include "runtime/json_text.h"
#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr Duration kTick = std::chrono::seconds(1);
constexpr Duration kLedgerPause = std::chrono::seconds(2);
constexpr std::size_t kStdinBytes = 256u << 10;
// Of the drain's time, kept for the last checkpoint and the receipt.
constexpr Duration kFinishReserve = std::chrono::milliseconds(500);

}  // namespace

Adapter::Adapter(Loop& loop, const Clock& clock, config::LogsConfig config, Reload reload)
    : loop_(loop),
      clock_(clock),
      config_(std::move(config)),
      reload_(std::move(reload)),
      surroundings_(Surroundings::of_process(config_)),
      component_(loop,
                 {.on_reload = [this] { this->reload(); },
                  .on_drain = [this] { begin_drain(); },
                  .on_deadline = [this] { give_up(); }},
                 kFinishReserve),
      tick_(loop),
      stdin_retry_(loop) {
  ::signal(SIGIO, SIG_IGN);  // a writer may open a file while we ask whether it has one
  registry_.add_collector([this](MetricsWriter& writer) { collect_metrics(writer); });
}

Adapter::~Adapter() = default;

Result<void> Adapter::start(InheritedListeners listeners) {
  for (const auto& remark : surroundings_.remarks) log::warn("{}", remark);
  server_.emplace(loop_);
  add_routes();
  if (auto opened = serve_on(*server_, listeners, "admin", config_.admin.listen); !opened) {
    return opened;
  }
  if (auto received = start_receivers(); !received) return received;
  start_pipelines();
  tick_.start(kTick, kTick, [this] { tick(); });
  component_.become_ready();
  report_waiting();
  return {};
}

int Adapter::run() {
  loop_.run();
  return 0;
}

void Adapter::add_routes() {
  server_->route("GET", "/ready", [this](const HttpServerRequest&) {
    return component_.is_ready() ? HttpServerResponse::text(200, "ready\n")
                                 : HttpServerResponse::text(503, "not ready\n");
  });
  server_->route("GET", "/ledger", [this](const HttpServerRequest&) {
    return HttpServerResponse::json(200, to_json(ledgers()));
  });
  add_metrics_routes(*server_, registry_);
}

Result<void> Adapter::start_receivers() {
  receivers_ = make_receivers(loop_, config_, surroundings_);
  for (const auto& receiver : receivers_) {
    if (auto started = receiver->start(); !started) return started;
  }
  return {};
}

void Adapter::start_pipelines() {
  watch_.emplace(loop_, [this](const DirectoryWatch::Event& event) {
    for (const auto& pipeline : pipelines_) {
      if (event.is_overflow) {
        pipeline->on_overflow();
      } else {
        pipeline->on_event(event.directory, event.name, event.is_content_only);
      }
    }
  });
  pipelines_ = make_pipelines(loop_, clock_, config_, surroundings_);
  // Watched first, so that nothing happens unseen between the first look and the watch.
  for (const auto& pipeline : pipelines_) pipeline->start();
  watch_directories();
  for (const auto& pipeline : pipelines_) pipeline->on_overflow();
  for (const auto& input : config_.inputs) {
    if (input.from_stdin && !is_stdin_open_) {
      is_stdin_open_ = true;
      read_stdin();
    }
  }
}

void Adapter::watch_directories() {
  for (const auto& pipeline : pipelines_) {
    for (const auto& directory : pipeline->directories()) watch_->watch(directory);
  }
}

void Adapter::tick() {
  watch_directories();
  for (const auto& pipeline : pipelines_) pipeline->tick();
  for (const auto& receiver : receivers_) {
    receiver->tick([this](const FileFacts& facts) {
      return std::all_of(pipelines_.begin(), pipelines_.end(),
                         [&](const auto& pipeline) { return pipeline->has_finished(facts); });
    });
  }
  report_waiting();
}

// One line for people: what we wait for, or what is wrong with an output.
void Adapter::report_waiting() {
  std::string status = "following";
  for (const auto& pipeline : pipelines_) {
    const auto awaited = pipeline->awaited_paths();
    if (!awaited.empty()) {
      status = "waiting for " + awaited.front();
      if (awaited.size() > 1) status += fmt::format(" and {} more", awaited.size() - 1);
    }
    if (const std::string trouble = pipeline->output().trouble(); !trouble.empty()) {
      status = pipeline->output().name() + ": " + trouble;
      break;
    }
  }
  for (const auto& receiver : receivers_) {
    if (!receiver->trouble().empty()) status = receiver->name() + ": " + receiver->trouble();
  }
  // The numbers change all the time: now and then is enough for people.
  const std::string ledger = ledger_text();
  const bool is_due = ledger != ledger_said_ && clock_.now() - said_at_ >= kLedgerPause;
  if (status == status_ && !is_due) return;
  component_.set_status(status + "; " + ledger);
  status_ = status;
  ledger_said_ = ledger;
  said_at_ = clock_.now();
}

// ---- standard input

void Adapter::read_stdin() {
  struct stat facts;
  const bool is_file = ::fstat(STDIN_FILENO, &facts) == 0 && S_ISREG(facts.st_mode);
  const auto read_once = [this](int, int) {
    const bool has_room =
        std::all_of(pipelines_.begin(), pipelines_.end(), [](const auto& pipeline) {
          return pipeline->stream() == nullptr || pipeline->stream()->has_room();
        });
    if (!has_room) {
      if (stdin_poll_) stdin_poll_->set_events(0);
      stdin_retry_.start(std::chrono::milliseconds(1), [this] {
        if (is_stdin_open_) read_stdin();
      });
      return false;
    }
    static thread_local std::vector<char> bytes(kStdinBytes);
    const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    on_stdin({bytes.data(), count > 0 ? static_cast<std::size_t>(count) : 0});
    return count > 0;
  };
  if (is_file) {  // always readable, and no file for epoll
    stdin_retry_.start(Duration::zero(), [this, read_once] {
      if (read_once(0, 0) && is_stdin_open_) read_stdin();
    });
    return;
  }
  if (!stdin_poll_) stdin_poll_.emplace(loop_, STDIN_FILENO);
  stdin_poll_->start(kReadable, [read_once](int events, int error) { read_once(events, error); });
}

void Adapter::on_stdin(std::string_view bytes) {
  for (const auto& pipeline : pipelines_) {
    if (StreamInput* const stream = pipeline->stream()) {
      if (bytes.empty()) {
        stream->close();
      } else {
        stream->append(bytes);
      }
      pipeline->wake();
    }
  }
  if (!bytes.empty()) return;
  is_stdin_open_ = false;
  stdin_poll_.reset();
  log::info("standard input has ended");
  const bool is_only_input = config_.inputs.size() == 1;
  if (is_only_input) component_.end();
}

// ---- the end

void Adapter::begin_drain() {
  log::info("stopping: reading what is left and waiting for the outputs");
  next_config_.reset();
  for (const auto& receiver : receivers_) receiver->finish();
  draining_pipelines_ = pipelines_.size();
  for (const auto& pipeline : pipelines_) pipeline->drain([this] { on_pipeline_drained(); });
}

void Adapter::on_pipeline_drained() {
  if (--draining_pipelines_ > 0) return;
  if (!component_.is_stopping()) {
    loop_.defer([this] { swap_configuration(); });
    return;
  }
  component_.finish();
  loop_.defer([this] {
    report_end();
    loop_.stop();
  });
}

// The deadline has passed, or a second signal came. Work on the pool may hang on a dead disk, so
// nobody waits for it.
void Adapter::give_up() {
  report_end();
  ::_exit(0);
}

void Adapter::report_end() {
  for (const auto& pipeline : pipelines_) pipeline->save_checkpoint_now();
  const Ledger total = ledger();
  log::info("{}", ledger_text());
  if (total.pending() > 0) {
    log::warn(
        "{} records are not acknowledged; they are read again from their files at the next "
        "start",
        total.pending());
  }
  component_.send_receipt({{"records_read", static_cast<long long>(total.read)},
                           {"records_delivered", static_cast<long long>(total.delivered)},
                           {"records_dropped", static_cast<long long>(total.dropped)},
                           {"records_pending", static_cast<long long>(total.pending())}});
}

// ---- reload

void Adapter::reload() {
  if (next_config_) return;
  auto loaded = reload_();
  std::string why = loaded ? "" : loaded.error().message();
  if (loaded) {
    for (const auto& problem : find_problems(*loaded, surroundings_))
      why += (why.empty() ? "" : "; ") + problem;
  }
  if (!why.empty()) {
    log::error("keeping the old configuration: {}", why);
    component_.set_status("reload refused: " + why);
    return;
  }
  next_config_ = std::move(*loaded);
  log::info("reloading");
  draining_pipelines_ = pipelines_.size();
  for (const auto& pipeline : pipelines_) pipeline->pause([this] { on_pipeline_drained(); });
}

// The old pipelines have delivered what they had taken and saved where they stand.
void Adapter::swap_configuration() {
  if (!next_config_) return;
  const Ledger total = ledger();
  for (const auto& pipeline : pipelines_) pipeline->save_checkpoint_now();
  before_ = total;
  pipelines_.clear();
  config_ = std::move(*next_config_);
  next_config_.reset();
  surroundings_ = Surroundings::of_process(config_);
  for (const auto& receiver : receivers_) receiver->finish();
  receivers_.clear();
  if (const auto received = start_receivers(); !received) {
    log::error("{}; the other inputs go on", received.error().message());
  }
  start_pipelines();
  log::info("the new configuration is in use");
}

// ---- numbers

Ledger Adapter::ledger() const {
  Ledger sum = before_;
  for (const auto& pipeline : pipelines_) sum += pipeline->ledger();
  return sum;
}

std::vector<OutputLedger> Adapter::ledgers() const {
  std::vector<OutputLedger> ledgers;
  for (const auto& pipeline : pipelines_) {
    ledgers.push_back({pipeline->output().name(), pipeline->input_ledgers(), pipeline->ledger(),
                       pipeline->counts().bytes_unread, pipeline->output().trouble()});
  }
  return ledgers;
}

std::string Adapter::ledger_text() const {
  const Ledger total = ledger();
  return fmt::format("records read {} = delivered {} + dropped {} + pending {}", total.read,
                     total.delivered, total.dropped, total.pending());
}

void Adapter::collect_metrics(MetricsWriter& writer) const {
  const auto family = [&](const char* name, MetricType type, const char* help, auto value) {
    writer.begin_family(name, type, help);
    for (const auto& pipeline : pipelines_) {
      writer.sample({{"output", pipeline->output().name()}},
                    static_cast<std::uint64_t>(value(*pipeline)));
    }
  };
  const auto counter = [&](const char* name, const char* help, auto value) {
    family(name, MetricType::Counter, help, value);
  };
  const auto gauge = [&](const char* name, const char* help, auto value) {
    family(name, MetricType::Gauge, help, value);
  };
  counter("pillion_logs_records_read_total", "Records made of what was read.",
          [](const Pipeline& p) { return p.ledger().read; });
  counter("pillion_logs_records_delivered_total", "Records that the output has acknowledged.",
          [](const Pipeline& p) { return p.ledger().delivered; });
  counter("pillion_logs_records_dropped_total", "Records refused for good.",
          [](const Pipeline& p) { return p.ledger().dropped; });
  counter("pillion_logs_records_filtered_total", "Records that the output's filter left out.",
          [](const Pipeline& p) { return p.counts().encode.filtered; });
  counter("pillion_logs_issued_secrets_redacted_total",
          "Records that held a secret which the service's ambassador has issued.",
          [](const Pipeline& p) { return p.redacted(); });
  gauge("pillion_logs_records_pending", "Records read and not yet acknowledged.",
        [](const Pipeline& p) { return p.ledger().pending(); });
  counter("pillion_logs_read_bytes_total", "Bytes of raw log read.",
          [](const Pipeline& p) { return p.counts().bytes_read; });
  gauge("pillion_logs_unread_bytes", "Bytes in followed files that are not read yet.",
        [](const Pipeline& p) { return p.counts().bytes_unread; });
  gauge("pillion_logs_files_open", "Files followed or being read to their end.",
        [](const Pipeline& p) { return p.counts().files_open; });
  counter("pillion_logs_parse_failures_total", "Lines that were not of their format.",
          [](const Pipeline& p) { return p.counts().encode.parse_failures; });
  counter("pillion_logs_truncated_lines_total", "Lines that were longer than allowed.",
          [](const Pipeline& p) { return p.counts().encode.truncated; });
  counter("pillion_logs_partial_lines_total", "Lines taken without their newline.",
          [](const Pipeline& p) { return p.counts().encode.partial; });
  counter("pillion_logs_invalid_utf8_total", "Bytes replaced because they were not UTF-8.",
          [](const Pipeline& p) { return p.counts().encode.invalid_utf8; });
  counter("pillion_logs_rotations_total", "Files that were rotated away or deleted.",
          [](const Pipeline& p) { return p.counts().rotations; });
  counter("pillion_logs_truncations_total", "Files that were truncated or rewritten.",
          [](const Pipeline& p) { return p.counts().truncations; });
  gauge("pillion_logs_in_flight_bytes", "Memory of records handed over and not acknowledged.",
        [](const Pipeline& p) { return p.in_flight_bytes(); });
  gauge("pillion_logs_reading_paused", "1 while too much is in flight to read on.",
        [](const Pipeline& p) { return p.is_paused() ? 1 : 0; });
  gauge("pillion_logs_output_trouble", "1 while the output does not accept records.",
        [](const Pipeline& p) { return p.output().trouble().empty() ? 0 : 1; });
  collect_inputs(writer);
  collect_receivers(writer);
  if (pipelines_.empty()) return;
  std::vector<std::string> done;
  for (const auto& pipeline : pipelines_) {
    for (const auto& stat : pipeline->output().stats()) {
      if (std::find(done.begin(), done.end(), stat.name) != done.end()) continue;
      done.emplace_back(stat.name);
      writer.begin_family(stat.name, MetricType::Counter, stat.help);
      for (const auto& other : pipelines_) {
        for (const auto& same : other->output().stats()) {
          if (std::string_view(same.name) != stat.name) continue;
          writer.sample({{"output", other->output().name()}}, same.value);
        }
      }
    }
  }
}

void Adapter::collect_inputs(MetricsWriter& writer) const {
  writer.begin_family("pillion_logs_input_records_total", MetricType::Counter,
                      "What became of records, by input, since the first checkpoint.");
  for (const auto& pipeline : pipelines_) {
    for (const auto& [input, counts] : pipeline->input_ledgers()) {
      const auto sample = [&](const char* outcome, std::uint64_t value) {
        writer.sample(
            {{"input", input}, {"output", pipeline->output().name()}, {"outcome", outcome}}, value);
      };
      sample("read", counts.read);
      sample("delivered", counts.delivered);
      sample("dropped", counts.dropped);
      sample("filtered", counts.filtered);
    }
  }
}

void Adapter::collect_receivers(MetricsWriter& writer) const {
  if (receivers_.empty()) return;
  const auto family = [&](const char* name, MetricType type, const char* help, auto value) {
    writer.begin_family(name, type, help);
    for (const auto& receiver : receivers_)
      writer.sample({{"input", receiver->name()}}, value(*receiver));
  };
  family("pillion_logs_spool_bytes", MetricType::Gauge,
         "What inputs that cannot be read again hold on disk.",
         [](const Receiver& receiver) { return receiver.spool_bytes(); });
  family("pillion_logs_lost_datagrams_total", MetricType::Counter,
         "Datagrams that came while the spool or its disk was full.",
         [](const Receiver& receiver) { return receiver.lost(); });
}

}  // namespace pillion::logs
