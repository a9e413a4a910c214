// How traffic is to be captured: which ways to try on this machine, in which order, and why. Pure;
// apply_capture() tries them, and the first that the kernel takes is it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netns/facts.h"
#include "netns/wanted.h"

namespace pillion::netns {

// The socket on the proxy's inbound port as it was found.
struct InboundListener {
  bool is_there = false;
  std::optional<bool> is_transparent;  // empty: the kernel does not tell
};

// One way; its texts say why it is tried. At least one, never Auto.
std::vector<CaptureFacts> capture_attempts(const Wanted& wanted, const InboundListener& listener);

// After `failed` did not work: puts the cause into the reasons of the way tried next.
void explain_fallback(const CaptureFacts& failed, const std::string& cause, CaptureFacts& next);

// `wanted` with the choice in place of Auto.
Wanted with_choice(const Wanted& wanted, const CaptureFacts& choice);

}  // namespace pillion::netns
