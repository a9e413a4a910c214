#include "ambassadors/secrets/vault_api.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace pillion::secrets {
namespace {

constexpr double kRequestsPerSecond = 50;
constexpr double kBurst = 50;
constexpr std::size_t kWaitingMax = 1000;
constexpr std::size_t kAnswerBytesMax = 4u << 20;
constexpr auto kConnectTimeoutMax = std::chrono::milliseconds(5000);

std::string without_trailing_slash(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url;
}

// Whole seconds only; the form with a date is not used by Vault.
Duration retry_after_of(const HttpClient::Response& response) {
  const std::string* text = response.find_header("Retry-After");
  unsigned seconds = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), seconds);
  return std::chrono::seconds(std::min(seconds, 86'400u));
}

VaultAnswer to_answer(Result<HttpClient::Response> result) {
  VaultAnswer answer;
  if (!result) {
    answer.failure = result.error().message();
    return answer;
  }
  answer.status = result->status;
  answer.retry_after = retry_after_of(*result);
  answer.body = SecretText::take(result->body);
  return answer;
}

}  // namespace

struct VaultApi::State {
  HttpClient::Request request;
  HttpClient::OnDone on_done;
  HttpClient::Exchange exchange;
  bool is_done = false;

  ~State() {
    wipe(request.body);
    for (auto& header : request.headers) wipe(header.value);
  }
};

bool VaultApi::Call::is_done() const { return state_->is_done; }

VaultApi::VaultApi(Loop& loop, const Clock& clock, const config::Vault& vault, Registry& registry)
    : loop_(loop),
      clock_(clock),
      vault_(vault),
      registry_(registry),
      base_url_(without_trailing_slash(vault.address)),
      client_(loop, {.connections_per_host_max = vault.max_connections,
                     .connections_max = vault.max_connections,
                     .user_agent = "pillion-secrets"}),
      limiter_(kRequestsPerSecond, kBurst),
      timer_(loop) {}

VaultApi::Call VaultApi::send(const std::string& method, const std::string& path,
                              const SecretText& token, std::string body, OnAnswer on_answer) {
  HttpClient::Request request;
  request.method = method;
  request.body = std::move(body);
  request.response_bytes_max = kAnswerBytesMax;
  request.headers.push_back({"X-Vault-Request", "true"});
  if (!token.is_empty()) request.headers.push_back({"X-Vault-Token", token.reveal()});
  if (vault_.namespace_name) {
    request.headers.push_back({"X-Vault-Namespace", *vault_.namespace_name});
  }
  if (!request.body.empty()) request.headers.push_back({"Content-Type", "application/json"});
  return forward(std::move(request), "/v1/" + path,
                 [on_answer = std::move(on_answer)](Result<HttpClient::Response> result) {
                   VaultAnswer answer = to_answer(std::move(result));
                   on_answer(std::move(answer));
                 });
}

VaultApi::Call VaultApi::forward(HttpClient::Request request, const std::string& path_and_query,
                                 HttpClient::OnDone on_done) {
  request.url = base_url_ + path_and_query;
  request.connect_timeout = std::min(kConnectTimeoutMax, vault_.timeout);
  request.total_timeout = vault_.timeout;
  request.tls.ca_file = vault_.ca_file.value_or("");
  request.tls.certificate_file = vault_.certificate_file.value_or("");
  request.tls.key_file = vault_.key_file.value_or("");
  return enqueue(std::move(request), std::move(on_done));
}

VaultApi::Call VaultApi::enqueue(HttpClient::Request request, HttpClient::OnDone on_done) {
  Call call;
  call.state_ = std::make_shared<State>();
  call.state_->request = std::move(request);
  call.state_->on_done = std::move(on_done);
  std::erase_if(waiting_, [](const auto& state) { return state.expired(); });
  if (waiting_.size() >= kWaitingMax) {
    loop_.defer([waiting = std::weak_ptr<State>(call.state_)] {
      const auto state = waiting.lock();
      if (!state) return;
      state->is_done = true;
      const auto deliver = std::move(state->on_done);
      deliver(fail(Error("too many requests wait for Vault", EAGAIN)));
    });
    return call;
  }
  waiting_.push_back(call.state_);
  pump();
  return call;
}

void VaultApi::pump() {
  while (!waiting_.empty()) {
    const auto state = waiting_.front().lock();
    if (!state) {
      waiting_.pop_front();
      continue;
    }
    const Duration wait = limiter_.take(clock_.now());
    if (wait > Duration::zero()) {
      timer_.start(wait, [this] { pump(); });
      return;
    }
    waiting_.pop_front();
    start(state);
  }
}

void VaultApi::start(const std::shared_ptr<State>& state) {
  const std::weak_ptr<State> started = state;
  HttpClient::Request request = std::move(state->request);
  state->exchange =
      client_.send(std::move(request), [this, started](Result<HttpClient::Response> result) {
        count(result);
        const auto done = started.lock();
        if (!done) return;
        done->is_done = true;
        const auto on_done = std::move(done->on_done);
        on_done(std::move(result));
      });
}

void VaultApi::count(const Result<HttpClient::Response>& result) {
  const std::string code = result ? std::to_string(result->status) : "none";
  registry_
      .counter("pillion_secrets_vault_requests_total",
               "Requests sent to Vault, by status code; `none` when there was no answer.",
               {{"code", code}})
      .add();
}

}  // namespace pillion::secrets
