// A request that rules look at: how far they are, and, while it is held, its head and its body.
// Belongs to an exchange; absent where no rules are configured.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "proxy/buffers.h"
#include "proxy/rules/external_call.h"
#include "proxy/rules/rule_set.h"
#include "runtime/http1/head.h"

namespace pillion::proxy {

struct Inspection {
  enum class State : std::uint8_t {
    Passing,    // it is not held: the rules let it pass, or are not done with its head
    Gathering,  // until the body is there
    Checking,   // until the external check has answered
  };

  State state = State::Passing;
  RuleWalk walk;
  bool is_begun = false;                    // all that came with the head was handed over
  bool has_body = false;                    // `body` is the whole body
  bool was_invited = false;                 // we sent the 100 that the client waited for
  const config::ProxyRule* rule = nullptr;  // of the check
  std::string head_bytes;
  http1::RequestHead head;  // views of head_bytes
  ByteQueue body;
  std::string trailers;
  std::unique_ptr<ExternalCall> call;

  bool is_holding() const { return state != State::Passing; }
  bool is_gathering() const { return state == State::Gathering; }
  // Takes a copy of a head whose bytes will not stay.
  void keep(const http1::RequestHead& original);
};

}  // namespace pillion::proxy
