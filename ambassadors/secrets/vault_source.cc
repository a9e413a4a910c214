#include "ambassadors/secrets/vault_source.h"

#include <algorithm>
#include <utility>

namespace pillion::secrets {
namespace {

constexpr auto kReplicationWaitBase = std::chrono::milliseconds(250);
constexpr auto kReplicationWaitMax = std::chrono::seconds(5);
constexpr auto kLeaseReadMin = std::chrono::seconds(1);

SecretId id_of(const std::string& path) { return {config::SecretSource::Vault, path}; }

}  // namespace

struct VaultSource::Read {
  enum class State {
    NeedsToken,  // to be read when there is a token
    Scheduled,   // the alarm says when
    Reading,
    Doubting,  // got a 403; waits for what becomes of the token
  };

  Read(Loop& loop, const Clock& clock, std::string path_, Duration base, Duration max)
      : path(std::move(path_)),
        alarm(loop, clock),
        backoff(base, max),
        replication_backoff(kReplicationWaitBase, kReplicationWaitMax) {}

  std::string path;
  State state = State::NeedsToken;
  bool is_failing = false;
  std::string denial;  // what the 403 said
  VaultApi::Call call;
  Alarm alarm;
  Backoff backoff;
  Backoff replication_backoff;
};

VaultSource::VaultSource(Loop& loop, const Clock& clock, const config::Vault& vault,
                         Duration refresh, Registry& registry, Callbacks callbacks)
    : loop_(loop),
      clock_(clock),
      refresh_(refresh),
      random_(std::random_device{}()),
      callbacks_(std::move(callbacks)),
      api_(loop, clock, vault, registry),
      session_(loop, clock, api_, random_, registry,
               {.on_token = [this] { on_token(); },
                .on_failure = [this](const Error& why) { on_login_failure(why); },
                .on_check_passed = [this] { on_check_passed(); }}) {}

VaultSource::~VaultSource() = default;

void VaultSource::apply(const std::vector<std::string>& paths, Duration refresh) {
  refresh_ = refresh;
  std::erase_if(reads_, [&](const auto& entry) {
    return std::find(paths.begin(), paths.end(), entry.first) == paths.end();
  });
  const auto& retry = api_.config().retry;
  for (const std::string& path : paths) {
    auto& read = reads_[path];
    if (!read) {
      // A failing path is not asked less often than a good one.
      const Duration longest = std::min<Duration>(retry.max, refresh);
      read = std::make_unique<Read>(loop_, clock_, path, retry.base, longest);
    }
    if (read->state == Read::State::Scheduled) begin(*read);
    if (read->state == Read::State::NeedsToken && session_.has_token()) begin(*read);
  }
}

void VaultSource::begin(Read& read) {
  read.alarm.stop();
  if (!session_.has_token()) {
    read.state = Read::State::NeedsToken;
    if (!session_.problem().empty()) {
      read.is_failing = true;
      callbacks_.on_failure(id_of(read.path), Error(session_.problem()));
    }
    return;
  }
  read.state = Read::State::Reading;
  read.call =
      api_.send("GET", read.path, session_.token(), "",
                [this, &read, token = session_.token()](const VaultAnswer& answer) {
                  if (choose_reaction(Operation::Read, answer.status) == Reaction::DoubtToken) {
                    return on_denied(read, token, answer);
                  }
                  on_answer(read, answer);
                });
}

void VaultSource::on_denied(Read& read, const SecretText& token, const VaultAnswer& answer) {
  read.denial = describe(answer);
  if (token != session_.token()) return begin(read);  // there is a newer one, or none
  read.state = Read::State::Doubting;
  if (!session_.doubt(token)) {
    fail_read(read, "cannot read " + read.path + ": " + read.denial, read.backoff.next(random_));
  }
}

void VaultSource::on_answer(Read& read, const VaultAnswer& answer) {
  switch (choose_reaction(Operation::Read, answer.status)) {
    case Reaction::Use: session_.confirm(); return use(read, answer);
    case Reaction::Missing: {
      const std::string deleted = describe_deleted(answer.body.reveal());
      return fail_read(read, read.path + (deleted.empty() ? " does not exist" : ": " + deleted),
                       read.backoff.next(random_));
    }
    case Reaction::RetrySoon:
      return fail_read(read, "cannot read " + read.path + ": " + describe(answer),
                       read.replication_backoff.next(random_));
    case Reaction::Throttled: {
      const auto asked = std::max<Duration>(answer.retry_after, std::chrono::seconds(1));
      return fail_read(read, "cannot read " + read.path + ": " + describe(answer),
                       next_try_after_429(asked, read.backoff, random_));
    }
    default:
      return fail_read(read, "cannot read " + read.path + ": " + describe(answer),
                       read.backoff.next(random_));
  }
}

void VaultSource::use(Read& read, const VaultAnswer& answer) {
  const auto data = parse_secret(answer.body.reveal());
  if (!data) {
    return fail_read(read, "cannot use " + read.path + ": " + data.error().message(),
                     read.backoff.next(random_));
  }
  read.replication_backoff.reset();
  Duration wait = next_refresh(refresh_, random_);
  if (data->lease) {
    wait = std::max<Duration>(next_replacement(*data->lease, random_), kLeaseReadMin);
  }
  read.is_failing = !callbacks_.on_data(id_of(read.path), *data);
  if (read.is_failing) {
    wait = read.backoff.next(random_);
  } else {
    read.backoff.reset();
  }
  read.state = Read::State::Scheduled;
  read.alarm.set(wait, [this, &read] { begin(read); });
}

void VaultSource::fail_read(Read& read, const std::string& why, Duration wait) {
  read.is_failing = true;
  read.state = Read::State::Scheduled;
  read.alarm.set(wait, [this, &read] { begin(read); });
  callbacks_.on_failure(id_of(read.path), Error(why));
}

// What was read keeps its schedule: a new token is no reason to read everything again.
void VaultSource::on_token() {
  for (auto& [path, read] : reads_) {
    if (read->state == Read::State::Reading) continue;
    if (read->is_failing || read->state != Read::State::Scheduled) begin(*read);
  }
  callbacks_.on_session_change();
}

void VaultSource::on_login_failure(const Error& why) {
  for (auto& [path, read] : reads_) {
    if (read->state == Read::State::Scheduled || read->state == Read::State::Reading) continue;
    read->state = Read::State::NeedsToken;
    read->is_failing = true;
    callbacks_.on_failure(id_of(path), why);
  }
  callbacks_.on_session_change();
}

void VaultSource::on_check_passed() {
  for (auto& [path, read] : reads_) {
    if (read->state != Read::State::Doubting) continue;
    fail_read(*read,
              "cannot read " + path + ": " + read->denial +
                  " (the token is valid: its policies do not allow this path)",
              read->backoff.next(random_));
  }
}

}  // namespace pillion::secrets
