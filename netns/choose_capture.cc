#include "netns/choose_capture.h"

#include <fmt/format.h>

#include "netns/rules.h"

namespace pillion::netns {
namespace {

// Why TPROXY is not tried although the choice is ours; "" = it is.
std::string reason_against_tproxy(const Intercept& intercept, const InboundListener& listener,
                                  Backend backend) {
  if (!captures_inbound(intercept)) return "no inbound port is captured";
  if (backend == Backend::Iptables) {
    return "TPROXY of iptables drops connections while no proxy listens, instead of refusing them";
  }
  if (!listener.is_there) {
    return fmt::format("nobody listens on port {} yet, and TPROXY needs a transparent listener",
                       intercept.inbound_port);
  }
  if (!listener.is_transparent) {
    return "the kernel does not tell whether the listener is transparent";
  }
  if (!*listener.is_transparent) {
    return fmt::format("the listener on port {} is not transparent (IP_TRANSPARENT)",
                       intercept.inbound_port);
  }
  return "";
}

void add_methods(const Intercept& intercept, const InboundListener& listener, CaptureFacts attempt,
                 std::vector<CaptureFacts>& attempts) {
  attempt.inbound_method = intercept.inbound_method;
  attempt.inbound_reason = "as configured";
  if (intercept.inbound_method != InboundMethod::Auto) return attempts.push_back(attempt);
  const std::string against = reason_against_tproxy(intercept, listener, attempt.backend);
  if (against.empty()) {
    attempt.inbound_method = InboundMethod::Tproxy;
    attempt.inbound_reason = "the kernel has it and the listener is transparent";
    attempts.push_back(attempt);
  }
  attempt.inbound_method = InboundMethod::Redirect;
  attempt.inbound_reason = against;
  attempts.push_back(attempt);
}

}  // namespace

std::vector<CaptureFacts> capture_attempts(const Wanted& wanted, const InboundListener& listener) {
  const Intercept& intercept = wanted.intercept;
  std::vector<CaptureFacts> attempts;
  if (wanted.mode == Mode::Sealed) {
    return {{Backend::Nftables, "a sealed namespace is made of it", InboundMethod::Tproxy,
             "nothing comes in but from the sidecar", ProxyDown::Closed}};
  }
  for (const Backend backend : {Backend::Nftables, Backend::Iptables}) {
    if (intercept.backend != Backend::Auto && intercept.backend != backend) continue;
    CaptureFacts attempt;
    attempt.backend = backend;
    attempt.when_proxy_down = intercept.when_proxy_down;
    attempt.backend_reason =
        intercept.backend == Backend::Auto ? "the kernel has it" : "as configured";
    add_methods(intercept, listener, attempt, attempts);
  }
  return attempts;
}

void explain_fallback(const CaptureFacts& failed, const std::string& cause, CaptureFacts& next) {
  if (next.backend != failed.backend) {
    next.backend_reason =
        fmt::format("{} does not work here: {}", backend_text(failed.backend), cause);
  } else if (next.inbound_method != failed.inbound_method) {
    next.inbound_reason =
        fmt::format("{} does not work here: {}", inbound_method_text(failed.inbound_method), cause);
  }
}

Wanted with_choice(const Wanted& wanted, const CaptureFacts& choice) {
  Wanted resolved = wanted;
  resolved.intercept.backend = choice.backend;
  resolved.intercept.inbound_method = choice.inbound_method;
  return resolved;
}

}  // namespace pillion::netns
