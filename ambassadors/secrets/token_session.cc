#include "ambassadors/secrets/token_session.h"

#include <algorithm>
#include <utility>

#include "runtime/log.h"

namespace pillion::secrets {
namespace {

constexpr auto kCredentialLookInterval = std::chrono::seconds(1);
constexpr auto kReplicationWait = std::chrono::milliseconds(500);

std::string wrapping_body(const SecretText& wrapping_token) {
  // Tokens are printable ASCII; anything else was no token.
  return "{\"token\":\"" + wrapping_token.reveal() + "\"}";
}

bool is_token_text(const std::string& text) {
  for (const char c : text) {
    if (c <= ' ' || c == 0x7f || c == '"' || c == '\\') return false;
  }
  return !text.empty();
}

}  // namespace

TokenSession::TokenSession(Loop& loop, const Clock& clock, VaultApi& api, Random& random,
                           Registry& registry, Callbacks callbacks)
    : api_(api),
      random_(random),
      callbacks_(std::move(callbacks)),
      credential_(api.config().auth),
      login_backoff_(api.config().retry.base, api.config().retry.max),
      renewal_backoff_(api.config().retry.base, api.config().retry.max),
      next_alarm_(loop, clock),
      expiry_alarm_(loop, clock),
      credential_timer_(loop),
      logins_(registry.counter("pillion_secrets_logins_total", "Logins that gave a token.")),
      login_failures_(
          registry.counter("pillion_secrets_login_failures_total", "Logins that gave no token.")),
      renewals_(registry.counter("pillion_secrets_renewals_total",
                                 "Renewals of the token that succeeded.")),
      renewal_failures_(registry.counter("pillion_secrets_renewal_failures_total",
                                         "Renewals of the token that failed.")),
      ttl_(registry.gauge("pillion_secrets_token_ttl_seconds",
                          "Life that the last login or renewal granted; 0 = without end.")),
      is_valid_(registry.gauge("pillion_secrets_token_valid", "1 while there is a token.")) {}

void TokenSession::start() {
  credential_timer_.start(kCredentialLookInterval, kCredentialLookInterval,
                          [this] { look_at_credential(); });
  next_alarm_.set(Duration::zero(), [this] { handle(TokenEvent::LoginDue); });
}

void TokenSession::handle(TokenEvent event) {
  const auto transition = next_token_state(state_, event);
  if (!transition) return;
  log::debug("token: {} -> {}", name_of(state_), name_of(transition->to));
  state_ = transition->to;
  if (!has_token()) token_ = Token();
  is_valid_.set(has_token() ? 1 : 0);
  act(transition->action);
}

void TokenSession::act(TokenAction action) {
  switch (action) {
    case TokenAction::None: return;
    case TokenAction::StartLogin: return start_login();
    case TokenAction::TakeToken: return take_token();
    case TokenAction::RetryLogin: return retry(TokenEvent::LoginDue, login_backoff_);
    case TokenAction::StartRenewal: return start_renewal();
    case TokenAction::ExtendToken: return extend_token();
    case TokenAction::RetryRenewal: return retry(TokenEvent::RenewalDue, renewal_backoff_);
    case TokenAction::ScheduleReplacement:
      next_alarm_.set(next_replacement(expiry_alarm_.remaining(), random_),
                      [this] { handle(TokenEvent::LoginDue); });
      return;
    case TokenAction::StartCheck: return start_check();
    case TokenAction::ResumeSchedule: return schedule_next();
    case TokenAction::DropToken: return drop_token();
  }
}

void TokenSession::retry(TokenEvent event, Backoff& backoff) {
  const Duration wait = retry_after_ > Duration::zero()
                            ? next_try_after_429(retry_after_, backoff, random_)
                            : backoff.next(random_);
  retry_after_ = Duration::zero();
  if (event == TokenEvent::RenewalDue && expiry_alarm_.remaining() - wait <= grace_) {
    // No time for another try and a login after it.
    const Duration until_grace = std::max(Duration::zero(), expiry_alarm_.remaining() - grace_);
    next_alarm_.set(until_grace, [this] { handle(TokenEvent::LoginDue); });
    return;
  }
  next_alarm_.set(wait, [this, event] { handle(event); });
}

// ---- login --------------------------------------------------------------------------------------

void TokenSession::start_login() {
  next_alarm_.stop();
  credential_.remember();
  if (credential_.is_token_file()) return adopt_token_file();
  auto role_id = credential_.read_role_id();
  auto secret_id = credential_.read_secret_id();
  if (!role_id || !secret_id) {
    // Later, so that no callback runs inside the caller.
    const std::string why = (role_id ? secret_id.error() : role_id.error()).message();
    next_alarm_.set(Duration::zero(), [this, why] { fail_login(why); });
    return;
  }
  if (!credential_.is_wrapped()) return log_in_with(*role_id, *secret_id);
  if (*secret_id == unwrapped_from_) return log_in_with(*role_id, unwrapped_secret_id_);
  look_up_wrapping(*role_id, *secret_id);
}

void TokenSession::log_in_with(const SecretText& role_id, const SecretText& secret_id) {
  call_ = api_.send("POST", credential_.login_path(), SecretText(),
                    Credential::login_body(role_id, secret_id).reveal(),
                    [this](const VaultAnswer& answer) { on_login_answer(answer); });
}

// A wrapping token must come from our role's secret-id path: else somebody has opened it, taken the
// secret id and wrapped something else.
void TokenSession::look_up_wrapping(const SecretText& role_id, const SecretText& wrapping_token) {
  if (!is_token_text(wrapping_token.reveal())) {
    next_alarm_.set(Duration::zero(), [this] { fail_login("the file holds no wrapping token"); });
    return;
  }
  call_ = api_.send("POST", "sys/wrapping/lookup", SecretText(), wrapping_body(wrapping_token),
                    [this, role_id, wrapping_token](const VaultAnswer& answer) {
                      if (!answer.is_success()) return fail_login(answer);
                      const auto path = parse_data_member(answer.body.reveal(), "creation_path");
                      if (!path) return fail_login(path.error().message());
                      if (!credential_.is_creation_path(path->reveal())) {
                        return fail_login("the wrapping token was made by " + path->reveal() +
                                          ", not for this role: it may have been intercepted");
                      }
                      unwrap(role_id, wrapping_token);
                    });
}

void TokenSession::unwrap(const SecretText& role_id, const SecretText& wrapping_token) {
  call_ = api_.send("POST", "sys/wrapping/unwrap", wrapping_token, "",
                    [this, role_id, wrapping_token](const VaultAnswer& answer) {
                      if (!answer.is_success()) return fail_login(answer);
                      auto secret_id = parse_data_member(answer.body.reveal(), "secret_id");
                      if (!secret_id) return fail_login(secret_id.error().message());
                      unwrapped_from_ = wrapping_token;
                      unwrapped_secret_id_ = *secret_id;
                      log_in_with(role_id, unwrapped_secret_id_);
                    });
}

void TokenSession::on_login_answer(const VaultAnswer& answer) {
  if (choose_reaction(Operation::Login, answer.status) != Reaction::Use) return fail_login(answer);
  auto token = parse_auth(answer.body.reveal());
  if (!token) return fail_login(token.error().message());
  if (!is_token_text(token->text.reveal())) return fail_login("Vault's answer holds no token");
  next_ = std::move(*token);
  handle(TokenEvent::LoginSucceeded);
}

void TokenSession::adopt_token_file() {
  auto token = credential_.read_token();
  if (!token || !is_token_text(token->reveal())) {
    const std::string why = token ? "the token file holds no token" : token.error().message();
    next_alarm_.set(Duration::zero(), [this, why] { fail_login(why); });
    return;
  }
  call_ = api_.send("GET", "auth/token/lookup-self", *token, "",
                    [this, text = *token](const VaultAnswer& answer) {
                      if (!answer.is_success()) return fail_login(answer);
                      auto looked_up = parse_lookup(answer.body.reveal());
                      if (!looked_up) return fail_login(looked_up.error().message());
                      next_ = std::move(*looked_up);
                      next_.text = text;
                      handle(TokenEvent::LoginSucceeded);
                    });
}

void TokenSession::fail_login(const VaultAnswer& answer) {
  if (choose_reaction(Operation::Login, answer.status) == Reaction::Throttled) {
    retry_after_ = std::max<Duration>(answer.retry_after, std::chrono::seconds(1));
  }
  fail_login(describe(answer));
}

void TokenSession::fail_login(const std::string& why) {
  login_failures_.add();
  is_last_login_bad_ = true;
  const std::string problem = "cannot log in to Vault: " + why;
  if (problem != problem_) log::warn("{}", problem);
  problem_ = problem;
  handle(TokenEvent::LoginFailed);
  if (!has_token()) callbacks_.on_failure(Error(problem));
}

void TokenSession::take_token() {
  token_ = std::move(next_);
  next_ = Token();
  logins_.add();
  is_last_login_bad_ = false;
  is_proven_ = false;
  problem_.clear();
  renewal_backoff_.reset();
  grace_ = choose_grace(token_.ttl, random_);
  if (token_.ttl.count() > 0) {
    log::info("logged in to Vault: token for {} s{}", token_.ttl.count(),
              token_.is_renewable ? ", renewable" : "");
    expiry_alarm_.set(token_.ttl, [this] { handle(TokenEvent::Expired); });
  } else {
    log::info("logged in to Vault: token without end");
    expiry_alarm_.stop();
  }
  ttl_.set(static_cast<double>(token_.ttl.count()));
  schedule_next();
  callbacks_.on_token();
}

// ---- renewal ------------------------------------------------------------------------------------

void TokenSession::schedule_next() {
  if (!expiry_alarm_.is_set()) return next_alarm_.stop();
  const Duration remaining = expiry_alarm_.remaining();
  if (!token_.is_renewable || is_at_end_of_life(remaining, grace_)) {
    next_alarm_.set(token_.is_renewable ? Duration::zero() : next_replacement(remaining, random_),
                    [this] { handle(TokenEvent::LoginDue); });
    return;
  }
  next_alarm_.set(next_renewal(remaining, grace_), [this] { handle(TokenEvent::RenewalDue); });
}

void TokenSession::start_renewal() {
  call_ = api_.send("POST", "auth/token/renew-self", token_.text, "{}",
                    [this](const VaultAnswer& answer) { on_renewal_answer(answer); });
}

void TokenSession::on_renewal_answer(const VaultAnswer& answer) {
  const Reaction reaction = choose_reaction(Operation::Renew, answer.status);
  if (reaction == Reaction::Use) {
    auto renewed = parse_auth(answer.body.reveal());
    if (renewed) {
      next_ = std::move(*renewed);
      return handle(TokenEvent::RenewalSucceeded);
    }
    log::warn("cannot renew the token: {}", renewed.error().message());
  } else {
    log::warn("cannot renew the token: {}", describe(answer));
  }
  renewal_failures_.add();
  switch (reaction) {
    case Reaction::TokenDead: return handle(TokenEvent::TokenDead);
    case Reaction::NotRenewable:
      token_.is_renewable = false;
      return handle(TokenEvent::NotRenewable);
    case Reaction::Throttled:
      retry_after_ = std::max<Duration>(answer.retry_after, std::chrono::seconds(1));
      return handle(TokenEvent::RenewalFailed);
    case Reaction::RetrySoon:
      retry_after_ = kReplicationWait;
      return handle(TokenEvent::RenewalFailed);
    default: return handle(TokenEvent::RenewalFailed);
  }
}

void TokenSession::extend_token() {
  renewals_.add();
  renewal_backoff_.reset();
  login_backoff_.reset();
  is_proven_ = true;
  if (next_.ttl.count() == 0 && token_.ttl.count() > 0) {
    // Less than a second was granted: not a token without end, but one at its end.
    next_alarm_.set(Duration::zero(), [this] { handle(TokenEvent::LoginDue); });
    return;
  }
  token_.ttl = next_.ttl;
  token_.is_renewable = next_.is_renewable;
  next_ = Token();
  ttl_.set(static_cast<double>(token_.ttl.count()));
  if (token_.ttl.count() > 0) {
    expiry_alarm_.set(token_.ttl, [this] { handle(TokenEvent::Expired); });
  } else {
    expiry_alarm_.stop();
  }
  schedule_next();
}

// ---- doubt --------------------------------------------------------------------------------------

bool TokenSession::doubt(const SecretText& token) {
  if (token != token_.text) return false;
  handle(TokenEvent::Doubted);
  return state_ == TokenState::Checking;
}

void TokenSession::start_check() {
  call_ = api_.send("GET", "auth/token/lookup-self", token_.text, "",
                    [this](const VaultAnswer& answer) { on_check_answer(answer); });
}

void TokenSession::on_check_answer(const VaultAnswer& answer) {
  switch (choose_reaction(Operation::Lookup, answer.status)) {
    case Reaction::Use:
      confirm();
      handle(TokenEvent::CheckPassed);
      return callbacks_.on_check_passed();
    case Reaction::TokenDead:
      log::warn("the token is not valid any more: {}", describe(answer));
      return handle(TokenEvent::TokenDead);
    default:
      handle(TokenEvent::CheckFailed);
      return callbacks_.on_check_passed();  // not known: the path retries at its own pace
  }
}

// A token that never worked is not replaced at once: a server that hands out dead tokens would be
// stormed, and a limited secret id used up.
void TokenSession::drop_token() {
  call_ = VaultApi::Call();
  expiry_alarm_.stop();
  problem_ = "the token is not valid any more; logging in again";
  if (is_proven_) {
    login_backoff_.reset();
    next_alarm_.set(Duration::zero(), [this] { handle(TokenEvent::LoginDue); });
  } else {
    retry(TokenEvent::LoginDue, login_backoff_);
  }
}

void TokenSession::look_at_credential() {
  const bool may_help = !has_token() || is_last_login_bad_ || credential_.is_token_file();
  const bool is_busy = state_ == TokenState::LoggingIn || state_ == TokenState::Replacing;
  if (!may_help || is_busy || !credential_.has_changed()) return;
  log::info("the credential has changed: logging in");
  login_backoff_.reset();
  next_alarm_.set(Duration::zero(), [this] { handle(TokenEvent::LoginDue); });
}

}  // namespace pillion::secrets
