// One client that asks by TCP (RFC 7766): length-prefixed queries, answered as they become ready.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::proxy::dns {

class StreamClient {
 public:
  // `on_query` for each query; `on_end` once, when the client is gone, silent for 10 seconds, or
  // does not read.
  StreamClient(Loop& loop, Fd fd, std::function<void(std::string)> on_query,
               std::function<void()> on_end);

  // False when the client is gone. Never calls `on_end`.
  bool send(std::string_view answer);

 private:
  void on_event(int events);
  bool receive();
  bool flush();

  Fd fd_;
  const std::function<void(std::string)> on_query_;
  const std::function<void()> on_end_;
  Timer idle_;
  Poll poll_;
  std::string received_;
  std::string to_send_;
};

}  // namespace pillion::proxy::dns
