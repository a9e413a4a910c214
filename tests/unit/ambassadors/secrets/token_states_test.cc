// The table of the token's states: every pair is decided.
#include "ambassadors/secrets/token_states.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace pillion::secrets;

namespace {

using S = TokenState;
using E = TokenEvent;

constexpr S kStates[] = {S::LoggedOut, S::LoggingIn, S::Valid,
                         S::Renewing,  S::Replacing, S::Checking};
constexpr E kEvents[] = {E::LoginDue,         E::LoginSucceeded, E::LoginFailed,  E::RenewalDue,
                         E::RenewalSucceeded, E::RenewalFailed,  E::NotRenewable, E::Doubted,
                         E::CheckPassed,      E::CheckFailed,    E::TokenDead,    E::Expired};

// Pairs that mean nothing and are ignored, on purpose; every other pair is a row of the table.
const std::map<S, std::set<E>> kIgnored = {
    // Nothing is in flight and there is no token: only an alarm can come.
    {S::LoggedOut,
     {E::LoginSucceeded, E::LoginFailed, E::RenewalDue, E::RenewalSucceeded, E::RenewalFailed,
      E::NotRenewable, E::Doubted, E::CheckPassed, E::CheckFailed, E::TokenDead, E::Expired}},
    // One login at a time: asking again changes nothing.
    {S::LoggingIn,
     {E::LoginDue, E::RenewalDue, E::RenewalSucceeded, E::RenewalFailed, E::NotRenewable,
      E::Doubted, E::CheckPassed, E::CheckFailed, E::TokenDead, E::Expired}},
    {S::Valid,
     {E::LoginSucceeded, E::LoginFailed, E::RenewalSucceeded, E::RenewalFailed, E::NotRenewable,
      E::CheckPassed, E::CheckFailed, E::TokenDead}},
    // The renewal's answer will settle every doubt; the alarms are set anew after it.
    {S::Renewing,
     {E::LoginDue, E::LoginSucceeded, E::LoginFailed, E::RenewalDue, E::Doubted, E::CheckPassed,
      E::CheckFailed}},
    // The token is on its way out already.
    {S::Replacing,
     {E::LoginDue, E::RenewalDue, E::RenewalSucceeded, E::RenewalFailed, E::NotRenewable,
      E::Doubted, E::CheckPassed, E::CheckFailed, E::TokenDead}},
    {S::Checking,
     {E::LoginDue, E::LoginSucceeded, E::LoginFailed, E::RenewalDue, E::RenewalSucceeded,
      E::RenewalFailed, E::NotRenewable, E::Doubted}},
};

}  // namespace

TEST_CASE("every pair of state and event is decided: a row, or ignored on purpose") {
  for (const S state : kStates) {
    for (const E event : kEvents) {
      INFO(name_of(state) << " and event " << static_cast<int>(event));
      const bool is_row = next_token_state(state, event).has_value();
      const bool is_ignored = kIgnored.at(state).count(event) == 1;
      CHECK(is_row != is_ignored);
    }
  }
}

TEST_CASE("no pair has two rows") {
  std::set<std::pair<S, E>> seen;
  for (const auto& row : token_transitions()) CHECK(seen.emplace(row.from, row.event).second);
}

TEST_CASE("a token is lost only by expiry or Vault's own word") {
  for (const auto& row : token_transitions()) {
    if (!has_token(row.from) || has_token(row.to)) continue;
    CHECK((row.event == E::Expired || row.event == E::TokenDead));
  }
}

TEST_CASE("every state with a call in flight can end, whatever becomes of the call") {
  CHECK(next_token_state(S::LoggingIn, E::LoginFailed)->to == S::LoggedOut);
  CHECK(next_token_state(S::Renewing, E::RenewalFailed)->to == S::Valid);
  CHECK(next_token_state(S::Replacing, E::LoginFailed)->to == S::Valid);
  CHECK(next_token_state(S::Checking, E::CheckFailed)->to == S::Valid);
}
