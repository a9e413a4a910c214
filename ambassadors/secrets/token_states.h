// The life of our token as one table: state × event → state and action. Pure; TokenSession carries
// the actions out.
//
//   LoggedOut  no token; an alarm says when to try (at once, or after a backoff)
//   LoggingIn  no token, a login is in flight
//   Valid      a token; an alarm says when to renew or replace it
//   Renewing   a token, its renewal is in flight
//   Replacing  a token near its end, and a login in flight for the next one
//   Checking   a token that a 403 made doubtful; its look-up is in flight
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace pillion::secrets {

enum class TokenState { LoggedOut, LoggingIn, Valid, Renewing, Replacing, Checking };

enum class TokenEvent {
  LoginDue,  // the alarm, or a credential file changed
  LoginSucceeded,
  LoginFailed,
  RenewalDue,
  RenewalSucceeded,
  RenewalFailed,  // no answer, sealed, throttled: the token may still be good
  NotRenewable,   // Vault will not extend it any more
  Doubted,        // somebody got a 403 with it
  CheckPassed,
  CheckFailed,  // no answer: nothing is known
  TokenDead,    // Vault says that it is not valid
  Expired,      // by our clock
};

enum class TokenAction {
  None,
  StartLogin,
  TakeToken,   // and schedule its renewal or replacement
  RetryLogin,  // alarm after a backoff
  StartRenewal,
  ExtendToken,          // and schedule the next renewal
  RetryRenewal,         // alarm after a backoff
  ScheduleReplacement,  // alarm for a login before the end
  StartCheck,
  ResumeSchedule,  // alarm as after the last renewal
  DropToken,       // forget it; log in at once when it had worked, else after a backoff
};

struct TokenTransition {
  TokenState from;
  TokenEvent event;
  TokenState to;
  TokenAction action;
};

std::span<const TokenTransition> token_transitions();

// Empty when the event means nothing in that state and is ignored.
std::optional<TokenTransition> next_token_state(TokenState from, TokenEvent event);

std::string_view name_of(TokenState state);
bool has_token(TokenState state);

}  // namespace pillion::secrets
