#include "supervisor/probe/check.h"

#include <fmt/format.h>

#include "supervisor/probe/health_message.h"
#include "supervisor/probe/transfer.h"

namespace pillion::supervisor::probe {
namespace {

constexpr int kRedirectsMax = 10;
constexpr std::size_t kMessageBytesMax = 200;

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds time_until(Clock::time_point deadline) {
  return std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
}

CheckResult verdict_of(long status) {
  const bool is_good = status >= 200 && status < 400;
  return {is_good ? Verdict::Success : Verdict::Failure, fmt::format("HTTP {}", status)};
}

// https://grpc.io/docs/guides/status-codes/
std::string describe_refusal(const Transfer& answer, const std::string& code,
                             const std::string& service) {
  if (code == "5") return fmt::format("the server knows no service \"{}\"", service);
  if (code == "12") return "the server does not implement grpc.health.v1.Health";
  const auto message = answer.headers.find("grpc-message");
  const std::string said = message == answer.headers.end() ? "" : message->second;
  return fmt::format("gRPC status {}{}{}", code, said.empty() ? "" : ": ",
                     said.substr(0, kMessageBytesMax));
}

CheckResult verdict_of(ServingStatus status) {
  switch (status) {
    case ServingStatus::Serving: return {Verdict::Success, "SERVING"};
    case ServingStatus::NotServing: return {Verdict::Failure, "NOT_SERVING"};
    case ServingStatus::ServiceUnknown: return {Verdict::Failure, "SERVICE_UNKNOWN"};
    case ServingStatus::Unknown: break;
  }
  return {Verdict::Failure, "UNKNOWN"};
}

}  // namespace

CheckResult check_http(const HttpCheck& check) {
  const Clock::time_point deadline = Clock::now() + check.timeout;
  const std::string host = host_of(check.url);
  if (host.empty()) return {Verdict::Error, fmt::format("\"{}\" is not a URL", check.url)};
  TransferRequest request;
  request.url = check.url;
  request.headers = check.headers;
  request.headers.emplace_back("Connection: close");
  for (int redirects = 0;; ++redirects) {
    request.timeout = time_until(deadline);
    if (request.timeout.count() <= 0) return {Verdict::Failure, "no answer in time"};
    const Transfer answer = transfer(request);
    if (!answer.error.empty()) return {Verdict::Failure, answer.error};
    if (answer.redirect_url.empty()) return verdict_of(answer.status);
    if (host_of(answer.redirect_url) != host) {
      return {Verdict::Success,
              fmt::format("HTTP {}, warning: a redirect to another host is not followed: {}",
                          answer.status, answer.redirect_url.substr(0, kMessageBytesMax))};
    }
    if (redirects == kRedirectsMax) {
      return {Verdict::Failure, fmt::format("more than {} redirects", kRedirectsMax)};
    }
    request.url = answer.redirect_url;
  }
}

CheckResult check_grpc(const GrpcCheck& check) {
  TransferRequest request;
  request.url = "http://" + check.address + "/grpc.health.v1.Health/Check";
  request.headers = {"Content-Type: application/grpc", "TE: trailers",
                     fmt::format("grpc-timeout: {}m", check.timeout.count())};
  request.body = health_request(check.service);
  request.is_grpc = true;
  request.timeout = check.timeout;
  const Transfer answer = transfer(request);
  if (!answer.error.empty()) return {Verdict::Failure, answer.error};
  if (answer.status != 200) {
    return {Verdict::Failure, fmt::format("HTTP {} instead of gRPC", answer.status)};
  }
  const auto code = answer.headers.find("grpc-status");
  if (code == answer.headers.end()) return {Verdict::Failure, "the answer is not gRPC"};
  if (code->second != "0") {
    return {Verdict::Failure, describe_refusal(answer, code->second, check.service)};
  }
  const auto status = parse_health_answer(answer.body);
  if (!status) return {Verdict::Failure, "the answer is no HealthCheckResponse"};
  return verdict_of(*status);
}

}  // namespace pillion::supervisor::probe
