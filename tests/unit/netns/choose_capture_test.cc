// Which backend and method are tried, in which order, and what is said about it.
#include "netns/choose_capture.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

Wanted orders() {
  Wanted wanted;
  wanted.service = "orders";
  wanted.intercept.inbound_ports = {8080};
  return wanted;
}

std::string text_of(const std::vector<CaptureFacts>& attempts) {
  std::string text;
  for (const CaptureFacts& item : attempts) {
    text += std::string(backend_text(item.backend)) + " " +
            std::string(inbound_method_text(item.inbound_method)) + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("tproxy is tried first where the listener is transparent") {
  const auto attempts = capture_attempts(orders(), {true, true});
  CHECK(text_of(attempts) == "nftables tproxy\nnftables redirect\niptables redirect\n");
  CHECK(attempts[0].inbound_reason == "the kernel has it and the listener is transparent");
}

TEST_CASE("without a transparent listener it is redirect, and the reason says why") {
  struct Case {
    InboundListener listener;
    std::string reason;
  };
  const Case cases[] = {
      {{false, {}}, "nobody listens on port 15006 yet, and TPROXY needs a transparent listener"},
      {{true, false}, "the listener on port 15006 is not transparent (IP_TRANSPARENT)"},
      {{true, {}}, "the kernel does not tell whether the listener is transparent"}};
  for (const Case& item : cases) {
    const auto attempts = capture_attempts(orders(), item.listener);
    CHECK(text_of(attempts) == "nftables redirect\niptables redirect\n");
    CHECK(attempts[0].inbound_reason == item.reason);
  }
}

TEST_CASE("what is configured is the only way") {
  Wanted fixed = orders();
  fixed.intercept.backend = Backend::Iptables;
  fixed.intercept.inbound_method = InboundMethod::Tproxy;
  const auto attempts = capture_attempts(fixed, {});
  CHECK(text_of(attempts) == "iptables tproxy\n");
  CHECK(attempts[0].backend_reason == "as configured");
}

TEST_CASE("a sealed namespace has one way only") {
  Wanted sealed = orders();
  sealed.mode = Mode::Sealed;
  CHECK(text_of(capture_attempts(sealed, {})) == "nftables tproxy\n");
}

TEST_CASE("a fallback carries the cause of what failed") {
  auto attempts = capture_attempts(orders(), {true, true});
  explain_fallback(attempts[0], "no such expression", attempts[1]);
  CHECK(attempts[1].inbound_reason == "tproxy does not work here: no such expression");
  CHECK(attempts[1].backend_reason == "the kernel has it");
  explain_fallback(attempts[1], "not supported", attempts[2]);
  CHECK(attempts[2].backend_reason == "nftables does not work here: not supported");
}

TEST_CASE("the choice replaces auto, and the facts survive their JSON") {
  const Wanted wanted = orders();
  CaptureFacts choice{Backend::Iptables, "because", InboundMethod::Tproxy, "therefore",
                      ProxyDown::Open};
  const Wanted chosen = with_choice(wanted, choice);
  CHECK(chosen.intercept.backend == Backend::Iptables);
  CHECK(chosen.intercept.inbound_method == InboundMethod::Tproxy);
  CHECK(*parse_capture_facts(capture_facts_to_json(choice)) == choice);
}

}  // namespace pillion::netns
