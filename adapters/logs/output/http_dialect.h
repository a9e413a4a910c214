// What differs between receivers that take batches over HTTP: the body of a request, and what an
// answer to it means. Pure; body() runs on the thread pool.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/state.h"
#include "adapters/logs/output/bulk_verdict.h"
#include "runtime/http_client.h"

namespace pillion::logs {

// What an answer says of the records of its request.
struct Answer {
  enum class Kind : std::uint8_t {
    Items,  // each has a verdict of its own
    Done,   // stored, but for `rejected` of them
    Retry,  // nothing was stored, for a reason that passes
    Halve,  // one of them, or their size, spoils the request
    Hold,   // nothing will be taken until somebody mends rights or addresses
  };
  Kind kind = Kind::Done;
  std::vector<ItemVerdict> items;
  std::uint64_t rejected = 0;
  std::string why;  // empty when all are stored
};

// What a request is about, beyond its body.
struct PartFacts {
  std::string_view first_record;
  // Of the records in this request, the same when they are read and gathered once more.
  std::string id;
  std::int64_t wall_ns = 0;
};

class HttpDialect {
 public:
  virtual ~HttpDialect() = default;

  // For people and metric labels: "elasticsearch orders".
  virtual std::string name() const = 0;
  // What stands in dead letters beside a record: an index, an address.
  virtual std::string target() const = 0;
  virtual std::string url() const = 0;
  virtual HttpClient::Headers headers() const = 0;
  virtual std::string body(const RecordBuffer& records) const = 0;
  virtual Answer judge(const HttpClient::Response& response, std::size_t record_count) const = 0;
  // Last touch to a request that has its body and headers: another address, a signature. The error
  // says why it cannot be sent now.
  virtual Result<void> finish(HttpClient::Request&, const PartFacts&) const { return {}; }
  // A record that was refused because of its mapping, in a form that may fit; empty when there is
  // none.
  virtual std::string healed(std::string_view) const { return {}; }
  // The JSON object in a record of the buffer: without an action line before it.
  virtual std::string_view document(std::string_view record) const { return record; }
};

// What a status means where nothing tells the records apart: 2xx Done, 408, 429 and 5xx Retry, 400
// and 413 Halve, anything else Hold.
Answer judge_by_status(const HttpClient::Response& response);

}  // namespace pillion::logs
