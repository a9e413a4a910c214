#include "adapters/metrics/source.h"

#include <algorithm>

#include "runtime/log.h"

namespace pillion::metrics {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

constexpr milliseconds kFirstWait{1'000};
constexpr milliseconds kLongestWait{60'000};
constexpr Duration kSweep = std::chrono::seconds(1);

std::int64_t wall_ms(const Clock& clock) {
  return duration_cast<milliseconds>(clock.wall_now().time_since_epoch()).count();
}

Labels source_label(const Source& source) { return {{"source", source.name()}}; }

void count(Families& own, std::string_view name, const Labels& labels, std::uint64_t value,
           std::string_view help) {
  own.add(name, Kind::Counter, static_cast<double>(value), labels, help);
}

}  // namespace

Naming naming_of(const config::MetricsConfig& config, const config::MetricsInput& input) {
  Naming naming;
  naming.prefix = input.prefix;
  std::map<std::string, std::string> labels = input.labels;
  labels.insert(config.labels.begin(), config.labels.end());
  naming.labels.assign(labels.begin(), labels.end());
  naming.keeps_counters = input.prometheus.has_value();
  if (!input.prometheus) naming.help = "From input " + input.name + ".";
  return naming;
}

// ---- Statsd

StatsdSource::StatsdSource(Loop& loop, const Clock& clock, config::MetricsInput config,
                           Naming naming, SeriesBudget& budget, StatsdServer::Sockets sockets)
    : Source(std::move(config)),
      clock_(clock),
      store_(*Source::config().statsd, std::move(naming), budget),
      server_(loop, clock, std::move(sockets), Source::config().statsd->socket.value_or("")),
      sweep_(loop) {
  server_.feed(&store_);
  sweep_.start(kSweep, kSweep, [this] { store_.expire(time()); });
}

StatsdStore::Time StatsdSource::time() const {
  return {duration_cast<milliseconds>(clock_.now().time_since_epoch()).count(), wall_ms(clock_)};
}

std::shared_ptr<const Families> StatsdSource::families() { return store_.snapshot(time()); }

void StatsdSource::report(Families& own) const {
  const Labels labels = source_label(*this);
  const StatsdStore::Counts& counts = store_.counts();
  count(own, "pillion_metrics_statsd_samples_total", labels, counts.samples, "Samples taken.");
  count(own, "pillion_metrics_statsd_datagrams_total", labels, server_.counts().datagrams,
        "Datagrams read.");
  count(own, "pillion_metrics_statsd_lost_datagrams_total", labels, server_.lost(),
        "Datagrams that the kernel's buffer had no room for.");
  count(own, "pillion_metrics_statsd_connections_total", labels, server_.counts().connections,
        "TCP connections taken.");
  count(own, "pillion_metrics_statsd_dropped_samples_total", labels, counts.dropped,
        "Samples left out by a mapping.");
  count(own, "pillion_metrics_statsd_refused_samples_total", labels, counts.refused,
        "Samples of series beyond max_series.");
  count(own, "pillion_metrics_statsd_conflicts_total", labels, counts.conflicts,
        "Samples of a name that has another type already.");
  count(own, "pillion_metrics_statsd_refused_set_values_total", labels, counts.set_values_refused,
        "Values that sets had no room for.");
  count(own, "pillion_metrics_statsd_expired_series_total", labels, counts.expired,
        "Series that were idle for their ttl.");
  for (std::size_t i = 1; i < kStatsdProblems; ++i) {
    Labels with_reason = labels;
    with_reason.emplace_back("reason", name_of(static_cast<StatsdProblem>(i)));
    count(own, "pillion_metrics_statsd_bad_lines_total", with_reason, counts.problems[i],
          "Lines that could not be read.");
  }
}

// ---- Polled

milliseconds next_wait(milliseconds period, unsigned failures) {
  if (failures == 0) return period;
  const milliseconds first = std::min(kFirstWait, period);
  const milliseconds longest = std::max(kLongestWait, period);
  const milliseconds doubled(first.count() << std::min(failures - 1, 20u));
  return std::min(doubled, longest);
}

PolledSource::PolledSource(Loop& loop, const Clock& clock, config::MetricsInput config,
                           Naming naming, SeriesBudget& budget, std::unique_ptr<Asker> asker)
    : Source(std::move(config)),
      clock_(clock),
      naming_(std::move(naming)),
      budget_(budget),
      asker_(std::move(asker)),
      next_(loop),
      limit_(loop),
      why_("has not answered yet") {}

PolledSource::~PolledSource() { release(); }

void PolledSource::start() {
  next_.start(Duration::zero(), [this] { ask(); });
}

void PolledSource::ask() {
  is_waiting_ = true;
  ++polls_;
  asked_ = clock_.now();
  limit_.start(config().timeout + milliseconds(100), [this] { on_timeout(); });
  asker_->ask(config().timeout, [this](Result<Families> answer) { on_answer(std::move(answer)); });
}

void PolledSource::on_timeout() {
  if (!is_waiting_) return;
  is_waiting_ = false;
  fail_with("no answer within " + config::to_string(config().timeout));
}

void PolledSource::on_answer(Result<Families> answer) {
  const bool is_in_time = is_waiting_;
  is_waiting_ = false;
  limit_.stop();
  duration_seconds_ = std::chrono::duration<double>(clock_.now() - asked_).count();
  if (is_in_time) {
    if (answer) {
      take(std::move(*answer));
    } else {
      fail_with(answer.error().message());
    }
  }
  next_.start(next_wait(config().period, failures_), [this] { ask(); });
}

// A failed source's series disappear: old numbers would look like new ones.
void PolledSource::fail_with(const std::string& why) {
  ++failed_;
  ++failures_;
  if (why_ != why || families_) log::warn("{}: {}", name(), why);
  why_ = why;
  release();
}

void PolledSource::take(Families families) {
  release();
  Refused refused;
  auto finished = std::make_shared<Families>(
      metrics::finish(std::move(families), naming_, budget_.room(), refused));
  series_ = finished->series_count();
  budget_.take(series_);
  families_ = std::move(finished);
  refused_over_limit_ += refused.over_limit;
  left_out_ += refused.duplicates + refused.conflicts;
  if (refused.total() > 0 && remark_ != refused.example)
    log::warn("{}: {}", name(), refused.example);
  remark_ = refused.example;
  if (failures_ > 0) log::info("{}: answers again", name());
  failures_ = 0;
  why_.clear();
  answered_ms_ = wall_ms(clock_);
}

void PolledSource::release() {
  budget_.give_back(series_);
  series_ = 0;
  families_.reset();
}

std::string PolledSource::trouble() const { return why_.empty() ? remark_ : why_; }

void PolledSource::report(Families& own) const {
  const Labels labels = source_label(*this);
  count(own, "pillion_metrics_polls_total", labels, polls_, "Questions asked.");
  count(own, "pillion_metrics_poll_failures_total", labels, failed_,
        "Questions without an answer.");
  own.add("pillion_metrics_poll_duration_seconds", Kind::Gauge, duration_seconds_, labels,
          "Time that the last poll took.");
  own.add("pillion_metrics_last_answer_timestamp_seconds", Kind::Gauge,
          static_cast<double>(answered_ms_) / 1000, labels,
          "When the source answered last; 0 is never.");
  count(own, "pillion_metrics_refused_series_total", labels, refused_over_limit_,
        "Series beyond max_series.");
  count(own, "pillion_metrics_left_out_series_total", labels, left_out_,
        "Series that came twice or contradicted another.");
}

}  // namespace pillion::metrics
