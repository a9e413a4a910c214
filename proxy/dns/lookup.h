// One query on its way to the DNS servers: a fresh socket (and so a random source port) and a
// random id per try, the next server when one is silent or cannot answer, TCP when an answer does
// not fit a datagram.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/address.h"
#include "proxy/dns/message.h"
#include "proxy/request_id.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::proxy::dns {

class Lookup {
 public:
  static constexpr unsigned kRounds = 2;

  // Gets the answer, or "" when no server gave one. Its id is not the client's.
  using OnDone = std::function<void(std::string answer)>;

  Lookup(Loop& loop, RandomSource& random, std::vector<Address> servers, Duration try_timeout,
         std::string packet, Query query, OnDone on_done);

  // Takes at most kRounds * servers * try_timeout; `on_done` may run before this returns.
  void start() { begin_try(false); }

 private:
  void begin_try(bool is_tcp);
  bool open(bool is_tcp);
  void on_event();
  void receive_datagram();
  void exchange_stream();
  bool send_stream();
  void fail_try();
  void take(std::string answer);
  void finish(std::string answer);

  Loop& loop_;
  RandomSource& random_;
  const std::vector<Address> servers_;
  const Duration try_timeout_;
  std::string packet_;
  const Query query_;
  OnDone on_done_;

  unsigned tries_ = 0;
  bool is_tcp_ = false;
  std::uint16_t id_ = 0;
  Fd socket_;
  std::unique_ptr<Poll> poll_;
  Timer timer_;
  std::string to_send_;
  std::string received_;
  std::string last_refusal_;  // SERVFAIL, or cut off: given when nobody does better
};

}  // namespace pillion::proxy::dns
