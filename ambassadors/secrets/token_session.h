// Our token with Vault: logs in, renews, checks, replaces. One login at a time, whoever asks; every
// failure is followed by a real pause. The states are in token_states.h.
#pragma once

#include <functional>
#include <string>

#include "ambassadors/secrets/alarm.h"
#include "ambassadors/secrets/credential.h"
#include "ambassadors/secrets/timing.h"
#include "ambassadors/secrets/token_states.h"
#include "ambassadors/secrets/vault_api.h"
#include "runtime/metrics.h"

namespace pillion::secrets {

class TokenSession {
 public:
  struct Callbacks {
    std::function<void()> on_token;                // a new token: what failed may be tried again
    std::function<void(const Error&)> on_failure;  // there is no token, and why
    std::function<void()> on_check_passed;         // the token is good: a 403 was the policy's
  };

  // All must outlive it. Callbacks never run before start() returns.
  TokenSession(Loop& loop, const Clock& clock, VaultApi& api, Random& random, Registry& registry,
               Callbacks callbacks);
  TokenSession(const TokenSession&) = delete;
  TokenSession& operator=(const TokenSession&) = delete;

  void start();

  bool has_token() const { return secrets::has_token(state_); }
  // Empty without a token.
  const SecretText& token() const { return token_.text; }
  TokenState state() const { return state_; }
  // Why the last login failed; empty since one succeeded.
  const std::string& problem() const { return problem_; }

  // A 403 came back for `token`. True when it is being looked up: on_check_passed, on_token or
  // on_failure will follow. False when it is not ours any more, or is busy being renewed or
  // replaced.
  bool doubt(const SecretText& token);
  // A call with the token succeeded: it works.
  void confirm() {
    is_proven_ = true;
    login_backoff_.reset();
  }

 private:
  void handle(TokenEvent event);
  void act(TokenAction action);
  void start_login();
  void log_in_with(const SecretText& role_id, const SecretText& secret_id);
  void look_up_wrapping(const SecretText& role_id, const SecretText& wrapping_token);
  void unwrap(const SecretText& role_id, const SecretText& wrapping_token);
  void on_login_answer(const VaultAnswer& answer);
  void adopt_token_file();
  void fail_login(const std::string& why);
  void fail_login(const VaultAnswer& answer);
  void take_token();
  void extend_token();
  void schedule_next();
  void retry(TokenEvent event, Backoff& backoff);
  void start_renewal();
  void on_renewal_answer(const VaultAnswer& answer);
  void start_check();
  void on_check_answer(const VaultAnswer& answer);
  void drop_token();
  void look_at_credential();

  VaultApi& api_;
  Random& random_;
  Callbacks callbacks_;
  Credential credential_;
  TokenState state_ = TokenState::LoggedOut;
  Token token_;
  Token next_;  // of a login or renewal that has just been answered
  Duration grace_{};
  bool is_proven_ = true;  // the token has worked, or there was none yet
  bool is_last_login_bad_ = false;
  Duration retry_after_{};     // of the last 429, for the next retry
  SecretText unwrapped_from_;  // a wrapping token can be used once: what it held is kept
  SecretText unwrapped_secret_id_;
  std::string problem_;
  VaultApi::Call call_;
  Backoff login_backoff_;
  Backoff renewal_backoff_;
  Alarm next_alarm_;
  Alarm expiry_alarm_;
  Timer credential_timer_;
  Counter& logins_;
  Counter& login_failures_;
  Counter& renewals_;
  Counter& renewal_failures_;
  Gauge& ttl_;
  Gauge& is_valid_;
};

}  // namespace pillion::secrets
