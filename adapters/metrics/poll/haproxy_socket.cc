#include "adapters/metrics/poll/haproxy_socket.h"

#include "adapters/metrics/formats/haproxy_csv.h"
#include "adapters/metrics/poll/stream_client.h"

namespace pillion::metrics {

BlockingWork haproxy_work(std::string socket_path, std::size_t bytes_max) {
  return [path = std::move(socket_path), bytes_max](const Deadline& deadline) -> Result<Families> {
    auto stream = StreamClient::connect_unix(path, deadline);
    if (!stream) return fail(stream.error());
    if (auto sent = stream->write("show stat\n", deadline); !sent) return fail(sent.error());
    std::string csv;
    for (;;) {
      auto piece = stream->read(deadline);
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;  // HAProxy closes behind its answer
      csv += *piece;
      if (csv.size() > bytes_max) return fail("the answer is longer than max_body");
    }
    return parse_haproxy_csv(csv);
  };
}

}  // namespace pillion::metrics
