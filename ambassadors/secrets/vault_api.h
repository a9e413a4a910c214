// Calls of one Vault server: address, TLS, headers, and the limits that all calls share, our own
// and the app's: at most `max_connections`, at most 50 requests a second, a bounded queue.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "ambassadors/secrets/timing.h"
#include "ambassadors/secrets/vault_answer.h"
#include "config/secrets.h"
#include "runtime/clock.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace pillion::secrets {

class VaultApi {
  struct State;

 public:
  using OnAnswer = std::function<void(VaultAnswer)>;

  // Owns one call; destroying it cancels, waiting or in flight.
  class Call {
   public:
    Call() = default;
    bool is_active() const { return state_ != nullptr && !is_done(); }

   private:
    friend class VaultApi;
    bool is_done() const;
    std::shared_ptr<State> state_;  // the queue of waiting calls looks at it weakly
  };

  // `clock` and `registry` must outlive it.
  VaultApi(Loop& loop, const Clock& clock, const config::Vault& vault, Registry& registry);

  // `path` without /v1/. The answer comes later, exactly once unless cancelled; it may destroy the
  // Call. `token` may be empty.
  [[nodiscard]] Call send(const std::string& method, const std::string& path,
                          const SecretText& token, std::string body, OnAnswer on_answer);

  // A request made by somebody else, within the same limits. `url` is filled in from
  // `path_and_query` ("/v1/…"); headers are sent as they are.
  [[nodiscard]] Call forward(HttpClient::Request request, const std::string& path_and_query,
                             HttpClient::OnDone on_done);

  const config::Vault& config() const { return vault_; }

 private:
  Call enqueue(HttpClient::Request request, HttpClient::OnDone on_done);
  void pump();
  void start(const std::shared_ptr<State>& state);
  void count(const Result<HttpClient::Response>& result);

  Loop& loop_;
  const Clock& clock_;
  config::Vault vault_;
  Registry& registry_;
  std::string base_url_;
  HttpClient client_;
  RequestLimiter limiter_;
  std::deque<std::weak_ptr<State>> waiting_;
  Timer timer_;
};

}  // namespace pillion::secrets
