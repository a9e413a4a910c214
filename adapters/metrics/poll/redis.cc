#include "adapters/metrics/poll/redis.h"

#include <vector>

#include <fmt/format.h>

#include "adapters/metrics/formats/redis_info.h"
#include "adapters/metrics/make_sources.h"
#include "adapters/metrics/model/number_text.h"
#include "adapters/metrics/poll/stream_client.h"

namespace pillion::metrics {
namespace {

std::string command_of(const std::vector<std::string>& words) {
  std::string out = fmt::format("*{}\r\n", words.size());
  for (const std::string& word : words) out += fmt::format("${}\r\n{}\r\n", word.size(), word);
  return out;
}

// One connection's replies.
class Replies {
 public:
  Replies(StreamClient& stream, const Deadline& deadline, std::size_t bytes_max)
      : stream_(stream), deadline_(deadline), bytes_max_(bytes_max) {}

  // A simple or bulk string; an error reply is an error.
  Result<std::string> next() {
    auto head = line();
    if (!head) return head;
    if (head->starts_with('+')) return head->substr(1);
    if (head->starts_with('-')) return fail("Redis answers: " + clean_text(head->substr(1)));
    const auto size = head->starts_with('$') ? parse_number(head->substr(1)) : std::nullopt;
    if (!size || *size < 0) return fail("this is no answer of Redis");
    if (*size > static_cast<double>(bytes_max_)) return fail("the answer is longer than max_body");
    const auto length = static_cast<std::size_t>(*size);
    while (unread_.size() < length + 2) {
      if (auto more = fill(); !more) return fail(more.error());
    }
    std::string text = unread_.substr(0, length);
    unread_.erase(0, length + 2);
    return text;
  }

 private:
  Result<std::string> line() {
    for (;;) {
      const auto end = unread_.find("\r\n");
      if (end != std::string::npos) {
        std::string text = unread_.substr(0, end);
        unread_.erase(0, end + 2);
        return text;
      }
      if (unread_.size() > 4096) return fail("this is no answer of Redis");
      if (auto more = fill(); !more) return fail(more.error());
    }
  }

  Result<void> fill() {
    auto piece = stream_.read(deadline_);
    if (!piece) return fail(piece.error());
    if (piece->empty()) return fail("Redis closed the connection");
    unread_ += *piece;
    return {};
  }

  StreamClient& stream_;
  const Deadline& deadline_;
  std::size_t bytes_max_;
  std::string unread_;
};

Result<Families> ask(const config::RedisInput& config, std::size_t bytes_max,
                     const Deadline& deadline) {
  auto stream = config.socket ? StreamClient::connect_unix(*config.socket, deadline)
                              : StreamClient::connect_tcp(config.address->host,
                                                          config.address->port, deadline);
  if (!stream) return fail(stream.error());
  if (config.tls) {
    const std::string host = config.address ? config.address->host : "localhost";
    if (auto started = stream->start_tls(host, *config.tls, deadline); !started) {
      return fail(started.error());
    }
  }
  Replies replies(*stream, deadline, bytes_max);
  if (config.password_file) {
    auto password = read_secret(*config.password_file);
    if (!password) return fail(password.error());
    std::vector<std::string> words{"AUTH"};
    if (config.user) words.push_back(*config.user);
    words.push_back(std::move(*password));
    if (auto sent = stream->write(command_of(words), deadline); !sent) return fail(sent.error());
    if (auto reply = replies.next(); !reply) return fail(reply.error());
  }
  auto sent = stream->write(command_of({"INFO", "all"}), deadline);
  if (!sent) return fail(sent.error());
  auto info = replies.next();
  if (!info) return fail(info.error());
  return parse_redis_info(*info);
}

}  // namespace

BlockingWork redis_work(config::RedisInput config, std::size_t bytes_max) {
  return [config = std::move(config), bytes_max](const Deadline& deadline) {
    return ask(config, bytes_max, deadline);
  };
}

}  // namespace pillion::metrics
