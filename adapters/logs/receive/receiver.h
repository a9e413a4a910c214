// Takes in lines from a named pipe, or syslog messages from TCP, UDP or a Unix datagram socket, and
// appends them to a spool. What can wait does so while the spool is full or its disk is; datagrams
// over the network cannot and are counted as lost.
//
// TCP carries messages with their length before them or a line each, told apart by the first byte
// of each (RFC 6587 §3.4). A line feed within a message becomes #012, as rsyslog writes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/receive/spool.h"
#include "runtime/loop.h"

namespace pillion::logs {

// One of fifo, socket_path and address.
struct ReceiverOptions {
  std::string fifo;         // created when it does not exist
  std::string socket_path;  // Unix datagrams, such as /dev/log
  std::string address;      // numeric; both TCP and UDP
  std::uint16_t port = 0;
  std::string spool_path;
  std::uint64_t spool_bytes_max = 1u << 30;
  std::size_t message_bytes_max = 1u << 20;  // the rest of a longer one is cut off
};

class Receiver {
 public:
  Receiver(Loop& loop, ReceiverOptions options);
  ~Receiver();

  Result<void> start();
  // Once a second: goes on reading where there is room again, and removes delivered segments.
  void tick(const std::function<bool(const FileFacts&)>& is_delivered);
  // Takes in what has arrived, and closes.
  void finish();

  std::string name() const;
  std::string trouble() const { return trouble_; }
  std::uint64_t lost() const { return lost_; }
  std::uint64_t spool_bytes() const { return spool_.bytes(); }

 private:
  // A stream: a connection, or the named pipe.
  struct Stream {
    Fd fd;
    std::optional<Poll> poll;
    std::string pending;
    bool is_cutting = false;  // behind a message that was too long
    std::uint64_t skip = 0;   // bytes of a counted message that are not wanted
  };

  Result<void> open_fifo();
  Result<void> open_socket();
  Result<void> open_address();
  void watch(Stream& stream);
  void read_datagrams(int socket);
  // False when the stream has ended.
  bool read_stream(Stream& stream);
  void take_messages(Stream& stream, bool has_ended);
  bool take_counted(Stream& stream, std::size_t& at);
  void accept_connections();
  void drop(const Stream* stream);
  bool can_store();
  void add_message(std::string_view message);
  void store();

  Loop& loop_;
  ReceiverOptions options_;
  Spool spool_;
  Fd datagrams_, listener_;
  std::optional<Poll> datagrams_poll_, listener_poll_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::string gathered_;  // lines not yet in the spool
  std::string trouble_;
  bool is_full_ = false;
  std::uint64_t lost_ = 0;
};

}  // namespace pillion::logs
