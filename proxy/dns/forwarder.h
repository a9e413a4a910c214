// The DNS proxy: answers the app's captured queries from the upstreams' names, the cache, or the
// DNS servers of resolv.conf. On the server's loop; other threads read the counters only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/proxy.h"
#include "proxy/address.h"
#include "proxy/dns/cache.h"
#include "proxy/dns/datagram.h"
#include "proxy/dns/lookup.h"
#include "proxy/dns/stream_client.h"
#include "proxy/file_watch.h"
#include "proxy/request_id.h"
#include "proxy/stats.h"
#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/neighbours.h"
#include "runtime/result.h"

namespace pillion::proxy::dns {

struct ForwarderOptions {
  std::string resolv_conf = "/etc/resolv.conf";  // followed when it changes
  std::uint16_t server_port = 53;
  Duration try_timeout = std::chrono::milliseconds(1500);
};

struct ForwarderStats {
  Count malformed;
  Count from_names;
  Count from_cache;
  Count from_servers;
  Count coalesced;  // waited for the answer to the same query of somebody else
  Count failed;     // no server answered
  Count overload;   // refused: too many at once
};

// The numeric addresses of `nameserver` lines; 127.0.0.1 without any, as resolv.conf(5) says.
std::vector<Address> parse_servers(std::string_view resolv_conf, std::uint16_t port);

class Forwarder {
 public:
  static constexpr std::size_t kLookupsMax = 512;
  static constexpr std::size_t kStreamClientsMax = 128;
  static constexpr std::size_t kWaitersMax = 256;  // for the answer to one query

  explicit Forwarder(Loop& loop, ForwarderOptions options = {});
  ~Forwarder();

  // Bound sockets; kept for the life of this object.
  Result<void> serve_udp(Fd fd);
  void serve_tcp(Fd fd);
  // Names of upstreams and neighbours get their virtual addresses, as in the hosts file.
  void set_names(const config::ProxyConfig& config, const std::vector<Neighbour>& neighbours = {});

  const ForwarderStats& stats() const { return stats_; }

 private:
  // Gives the answer to whoever asked.
  using Reply = std::function<void(std::string answer)>;
  // Who waits for the answer to one query.
  struct Waiter {
    std::string packet;
    Query query;
    Reply reply;
  };
  struct Pending {
    std::unique_ptr<Lookup> lookup;
    std::string key;  // "" = the answer is for one client alone
    std::vector<Waiter> waiters;
  };
  struct Listener {
    Fd fd;
    std::unique_ptr<Poll> poll;
  };

  void read_servers();
  void receive(int fd);
  void accept(int fd);
  void answer_stream(std::uint64_t client, std::string packet);
  void end_stream(std::uint64_t client);
  void handle(const std::string& packet, bool is_datagram, const Reply& reply);
  bool answer_by_name(const std::string& packet, const Query& query, const Reply& reply);
  void look_up(Waiter waiter);
  void on_answer(std::uint64_t number, const std::string& answer);
  std::int64_t now_seconds() const;

  Loop& loop_;
  const ForwarderOptions options_;
  RandomSource random_;
  ForwarderStats stats_;
  Cache cache_;
  std::vector<Address> servers_;
  std::unordered_map<std::string, std::uint32_t> names_;  // virtual addresses, host order
  std::vector<Listener> listeners_;
  std::unordered_map<std::uint64_t, Pending> lookups_;
  std::unordered_map<std::string, std::uint64_t> lookups_by_key_;
  std::unordered_map<std::uint64_t, std::unique_ptr<StreamClient>> streams_;
  std::uint64_t last_number_ = 0;
  std::unique_ptr<FileWatch> watch_;
};

}  // namespace pillion::proxy::dns
