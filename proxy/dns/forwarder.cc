#include "proxy/dns/forwarder.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "runtime/log.h"

namespace pillion::proxy::dns {
namespace {

constexpr int kDatagramsPerTurn = 64;
constexpr std::size_t kServersMax = 8;
constexpr std::uint32_t kNameSeconds = 5;  // a reload may change them
constexpr std::uint32_t kVirtualBase = 240u << 24 | 240u << 16;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return lower;
}

// The file, and where a symbolic link leads, whose target is what changes.
std::vector<std::string> watched_files(const std::string& path) {
  std::vector<std::string> files = {path};
  if (char* real = ::realpath(path.c_str(), nullptr)) {
    if (path != real) files.emplace_back(real);
    std::free(real);
  }
  return files;
}

// Id and question as this client wrote them, whoever asked first: some clients mix the case of the
// letters at random, and believe no answer that has another.
void take_question(std::string& answer, std::string_view packet, const Query& query) {
  set_id(answer, id_of(packet));
  const std::size_t bytes = query.question_end - kHeaderBytes;
  if (answer.size() >= query.question_end) {
    answer.replace(kHeaderBytes, bytes, packet.substr(kHeaderBytes, bytes));
  }
}

// What the client can take; `answer` has the client's id.
std::string fit(std::string answer, const Query& query, bool is_datagram) {
  const bool is_cut = is_truncated(answer) || (is_datagram && answer.size() > query.udp_bytes);
  return is_cut ? make_truncated(answer, query) : answer;
}

}  // namespace

std::vector<Address> parse_servers(std::string_view resolv_conf, std::uint16_t port) {
  std::vector<Address> servers;
  std::istringstream lines{std::string(resolv_conf)};
  std::string line;
  while (std::getline(lines, line) && servers.size() < kServersMax) {
    std::istringstream words(line);
    std::string keyword, value;
    words >> keyword >> value;
    if (keyword != "nameserver") continue;
    if (const auto ip = config::IpAddress::parse(value)) servers.emplace_back(*ip, port);
  }
  if (servers.empty()) servers.emplace_back(*config::IpAddress::parse("127.0.0.1"), port);
  return servers;
}

Forwarder::Forwarder(Loop& loop, ForwarderOptions options)
    : loop_(loop), options_(std::move(options)) {
  read_servers();
  watch_ = std::make_unique<FileWatch>(loop_, watched_files(options_.resolv_conf),
                                       [this] { read_servers(); });
}

Forwarder::~Forwarder() = default;

void Forwarder::read_servers() {
  std::ifstream file(options_.resolv_conf);
  std::stringstream text;
  text << file.rdbuf();
  auto servers = parse_servers(text.str(), options_.server_port);
  if (servers == servers_) return;
  servers_ = std::move(servers);
  // Another network may have other answers.
  cache_.clear();
  std::string names;
  for (const Address& server : servers_) names += " " + server.to_string();
  log::info("DNS queries go to{}", names);
}

void Forwarder::set_names(const config::ProxyConfig& config,
                          const std::vector<Neighbour>& neighbours) {
  names_.clear();
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    const config::Upstream& upstream = config.upstreams[i];
    const auto address = kVirtualBase + static_cast<std::uint32_t>(i) + 1;
    if (upstream.hosts.empty()) names_.emplace(lower_case(upstream.name), address);
    for (const std::string& host : upstream.hosts) {  // a pattern names nothing by itself
      if (!host.starts_with('*')) names_.emplace(lower_case(host), address);
    }
  }
  for (const Neighbour& neighbour : neighbours) {
    names_.emplace(neighbour.name, neighbour.address);
    names_.emplace(neighbour.name + std::string(kNeighbourSuffix), neighbour.address);
  }
}

std::int64_t Forwarder::now_seconds() const {
  return std::chrono::duration_cast<std::chrono::seconds>(loop_.now().time_since_epoch()).count();
}

// ---- Sockets ------------------------------------------------------------------------------------

Result<void> Forwarder::serve_udp(Fd fd) {
  if (auto done = udp::tell_destinations(fd.get()); !done) return done;
  Listener& listener = listeners_.emplace_back();
  listener.fd = std::move(fd);
  const int number = listener.fd.get();
  listener.poll = std::make_unique<Poll>(loop_, number);
  listener.poll->start(kReadable, [this, number](int, int) { receive(number); });
  return {};
}

void Forwarder::serve_tcp(Fd fd) {
  Listener& listener = listeners_.emplace_back();
  listener.fd = std::move(fd);
  const int number = listener.fd.get();
  listener.poll = std::make_unique<Poll>(loop_, number);
  listener.poll->start(kReadable, [this, number](int, int) { accept(number); });
}

void Forwarder::receive(int fd) {
  for (int i = 0; i < kDatagramsPerTurn; ++i) {
    auto datagram = receive_datagram(fd);
    if (!datagram) return;
    auto asked = std::make_shared<Datagram>(std::move(*datagram));
    handle(asked->bytes, true,
           [fd, asked](const std::string& answer) { send_answer(fd, *asked, answer); });
  }
}

void Forwarder::accept(int fd) {
  Fd client(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client || streams_.size() >= kStreamClientsMax) return;
  const std::uint64_t number = ++last_number_;
  streams_[number] = std::make_unique<StreamClient>(
      loop_, std::move(client),
      [this, number](std::string packet) { answer_stream(number, std::move(packet)); },
      [this, number] { end_stream(number); });
}

void Forwarder::answer_stream(std::uint64_t client, std::string packet) {
  handle(packet, false, [this, client](const std::string& answer) {
    const auto found = streams_.find(client);
    if (found == streams_.end() || found->second->send(answer)) return;
    // Not from within: the client may be reading its next query.
    loop_.defer([this, client] { end_stream(client); });
  });
}

void Forwarder::end_stream(std::uint64_t client) {
  const auto found = streams_.find(client);
  if (found == streams_.end()) return;
  loop_.defer_delete(std::move(found->second));
  streams_.erase(found);
}

// ---- Answers ------------------------------------------------------------------------------------

void Forwarder::handle(const std::string& packet, bool is_datagram, const Reply& reply) {
  const ParsedQuery parsed = parse_query(packet);
  if (parsed.kind != QueryKind::Good) stats_.malformed.add();
  if (parsed.kind == QueryKind::Drop) return;
  const Query& query = parsed.query;
  if (parsed.kind == QueryKind::Bad) return reply(make_error(packet, query, parsed.rcode));
  if (answer_by_name(packet, query, reply)) return;
  const Reply fitting = [reply, query, is_datagram, packet](std::string answer) {
    take_question(answer, packet, query);
    reply(fit(std::move(answer), query, is_datagram));
  };
  if (!query.cache_key.empty()) {
    if (auto cached = cache_.find(query.cache_key, now_seconds())) {
      stats_.from_cache.add();
      return fitting(std::move(*cached));
    }
  }
  look_up({packet, query, fitting});
}

bool Forwarder::answer_by_name(const std::string& packet, const Query& query, const Reply& reply) {
  const auto found = names_.find(query.name);
  if (found == names_.end() || query.record_class != 1) return false;
  stats_.from_names.add();
  std::optional<std::uint32_t> address;
  if (query.type == kTypeA) address = found->second;
  reply(make_address_answer(packet, query, address, kNameSeconds));
  return true;
}

// A look-up for the same is under way perhaps: a herd that starts at once asks the servers once.
void Forwarder::look_up(Waiter waiter) {
  const std::string key = waiter.query.cache_key;
  const auto same = key.empty() ? lookups_by_key_.end() : lookups_by_key_.find(key);
  if (same != lookups_by_key_.end() && lookups_[same->second].waiters.size() < kWaitersMax) {
    stats_.coalesced.add();
    lookups_[same->second].waiters.push_back(std::move(waiter));
    return;
  }
  if (lookups_.size() >= kLookupsMax) {
    stats_.overload.add();
    return waiter.reply(make_error(waiter.packet, waiter.query, Rcode::ServerFailure));
  }
  const std::uint64_t number = ++last_number_;
  if (!key.empty()) lookups_by_key_[key] = number;
  Pending& pending = lookups_[number];
  pending.key = key;
  pending.lookup = std::make_unique<Lookup>(
      loop_, random_, servers_, options_.try_timeout, waiter.packet, waiter.query,
      [this, number](const std::string& answer) { on_answer(number, answer); });
  pending.waiters.push_back(std::move(waiter));
  pending.lookup->start();
}

void Forwarder::on_answer(std::uint64_t number, const std::string& answer) {
  const auto found = lookups_.find(number);
  Pending pending = std::move(found->second);
  lookups_.erase(found);
  loop_.defer_delete(std::move(pending.lookup));
  const auto by_key = lookups_by_key_.find(pending.key);
  if (by_key != lookups_by_key_.end() && by_key->second == number) lookups_by_key_.erase(by_key);
  (answer.empty() ? stats_.failed : stats_.from_servers).add();
  if (!answer.empty()) cache_.put(pending.key, answer, now_seconds());
  for (const Waiter& waiter : pending.waiters) {
    waiter.reply(answer.empty() ? make_error(waiter.packet, waiter.query, Rcode::ServerFailure)
                                : answer);
  }
}

}  // namespace pillion::proxy::dns
