#include "ambassadors/secrets/token_states.h"

namespace pillion::secrets {
namespace {

using S = TokenState;
using E = TokenEvent;
using A = TokenAction;

constexpr TokenTransition kTransitions[] = {
    {S::LoggedOut, E::LoginDue, S::LoggingIn, A::StartLogin},

    {S::LoggingIn, E::LoginSucceeded, S::Valid, A::TakeToken},
    {S::LoggingIn, E::LoginFailed, S::LoggedOut, A::RetryLogin},

    {S::Valid, E::RenewalDue, S::Renewing, A::StartRenewal},
    {S::Valid, E::LoginDue, S::Replacing, A::StartLogin},
    {S::Valid, E::Doubted, S::Checking, A::StartCheck},
    {S::Valid, E::Expired, S::LoggedOut, A::DropToken},

    {S::Renewing, E::RenewalSucceeded, S::Valid, A::ExtendToken},
    {S::Renewing, E::RenewalFailed, S::Valid, A::RetryRenewal},
    {S::Renewing, E::NotRenewable, S::Valid, A::ScheduleReplacement},
    {S::Renewing, E::TokenDead, S::LoggedOut, A::DropToken},
    {S::Renewing, E::Expired, S::LoggedOut, A::DropToken},

    {S::Replacing, E::LoginSucceeded, S::Valid, A::TakeToken},
    {S::Replacing, E::LoginFailed, S::Valid, A::RetryLogin},
    {S::Replacing, E::Expired, S::LoggingIn, A::None},

    {S::Checking, E::CheckPassed, S::Valid, A::ResumeSchedule},
    {S::Checking, E::CheckFailed, S::Valid, A::ResumeSchedule},
    {S::Checking, E::TokenDead, S::LoggedOut, A::DropToken},
    {S::Checking, E::Expired, S::LoggedOut, A::DropToken},
};

}  // namespace

std::span<const TokenTransition> token_transitions() { return kTransitions; }

std::optional<TokenTransition> next_token_state(TokenState from, TokenEvent event) {
  for (const auto& transition : kTransitions) {
    if (transition.from == from && transition.event == event) return transition;
  }
  return std::nullopt;
}

std::string_view name_of(TokenState state) {
  switch (state) {
    case S::LoggedOut: return "logged-out";
    case S::LoggingIn: return "logging-in";
    case S::Valid: return "valid";
    case S::Renewing: return "renewing";
    case S::Replacing: return "replacing";
    case S::Checking: return "checking";
  }
  return "";
}

bool has_token(TokenState state) { return state != S::LoggedOut && state != S::LoggingIn; }

}  // namespace pillion::secrets
