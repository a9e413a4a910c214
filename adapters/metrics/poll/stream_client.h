// A connection to a server, by TCP, TLS or a Unix socket, with calls that wait at most until a
// deadline. For threads of their own.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "adapters/metrics/poll/asker.h"
#include "config/logs.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::metrics {

class StreamClient {
 public:
  // Tries each address of the name. The look-up itself has no deadline but the resolver's.
  static Result<StreamClient> connect_tcp(const std::string& host, std::uint16_t port,
                                          const Deadline& deadline);
  static Result<StreamClient> connect_unix(const std::string& path, const Deadline& deadline);
  StreamClient(StreamClient&&) noexcept;
  StreamClient& operator=(StreamClient&&) noexcept;
  ~StreamClient();

  // TLS from here on; the server's certificate must be for `host` unless `tls` says not to look.
  Result<void> start_tls(const std::string& host, const config::LogTls& tls,
                         const Deadline& deadline);

  Result<void> write(std::string_view bytes, const Deadline& deadline);
  // At least one byte; none at the end of the stream. Valid until the next call.
  Result<std::string_view> read(const Deadline& deadline);

 private:
  struct Tls;
  StreamClient(Fd socket, std::string place);
  Result<void> wait_for_tls(int result, const char* what, const Deadline& deadline);

  Fd socket_;
  std::string place_;  // "host:port" or a path, for errors
  std::unique_ptr<Tls> tls_;
  std::string buffer_;
};

}  // namespace pillion::metrics
