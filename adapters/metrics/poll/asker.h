// Asks a source once: over HTTP on the loop, or by blocking calls on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "adapters/metrics/model/family.h"
#include "runtime/clock.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion::metrics {

class Asker {
 public:
  using OnAnswer = std::function<void(Result<Families>)>;
  virtual ~Asker() = default;
  // One question at a time. `on_answer` runs once, later, unless this is destroyed before. It may
  // come somewhat after `timeout`; who asks keeps the time.
  virtual void ask(std::chrono::milliseconds timeout, OnAnswer on_answer) = 0;
};

// When a blocking call must be over; waits are cut short when the asker goes.
struct Deadline {
  std::chrono::steady_clock::time_point at;
  int cancel_fd = -1;   // readable: give up
  int left_ms() const;  // 0 when it has passed
};

// Waits until `fd` has one of poll(2)'s `events`; an error when the time is up.
Result<void> wait_for(int fd, short events, const Deadline& deadline);

// Runs on the asker's thread.
using BlockingWork = std::function<Result<Families>(const Deadline&)>;
std::unique_ptr<Asker> make_blocking_asker(Loop& loop, BlockingWork work);

struct HttpQuestion {
  // Made for every question: secrets and their files change. An error is the answer.
  std::function<Result<HttpClient::Request>()> request;
  // May run on the loop's pool; what it refers to lives in it.
  std::function<Result<Families>(std::string_view body)> parse;
};
// `client` outlives the asker.
std::unique_ptr<Asker> make_http_asker(Loop& loop, HttpClient& client, HttpQuestion question);

}  // namespace pillion::metrics
