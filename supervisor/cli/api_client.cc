#include "supervisor/cli/api_client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "config/parse_units.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/control/api.h"
#include "supervisor/control/control_client.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

namespace {

constexpr int kAttemptsMax = 3;

Error not_running(const std::string& service) {
  std::string names;
  for (const std::string& one : list_services()) names += (names.empty() ? "" : ", ") + one;
  return Error(
      fmt::format("no service \"{}\" is running here ({}).\n"
                  "Start it with `pillion run {}.toml`, or `systemctl start pillion@{}` when its "
                  "file is in /etc/pillion.",
                  service, names.empty() ? "none is" : "running: " + names, service, service),
      ENOENT);
}

Result<control::ControlClient> connect_to(const std::string& name) {
  const std::string service = service_name_of(name);
  if (!config::is_child_name(service)) {
    return fail(fmt::format("\"{}\" is not the name of a service", service));
  }
  auto client = control::ControlClient::connect(host::service_paths(service).control_socket());
  if (client) return client;
  const int reason = client.error().errno_value();
  if (reason == EACCES) {
    return fail(
        fmt::format("{}; use sudo, or be the user who runs the service", client.error().message()));
  }
  if (reason == ENOENT || reason == ECONNREFUSED) return fail(not_running(service));
  return client;
}

Result<std::string> body_of(control::ControlReply reply) {
  if (reply.status >= 200 && reply.status < 300) {
    if (!reply.body.empty() && reply.body.back() == '\n') reply.body.pop_back();
    return std::move(reply.body);
  }
  return fail(refusal_of(reply));
}

}  // namespace

Error refusal_of(const control::ControlReply& reply) {
  const auto refusal = control::parse_error(reply.body);
  return Error(
      refusal ? *refusal : fmt::format("the supervisor answered with status {}", reply.status),
      EPROTO);
}

Result<control::ControlReply> ask_api(const std::string& service, std::string_view method,
                                      std::string_view target, std::string_view body,
                                      Duration timeout) {
  for (int attempt = 1;; ++attempt) {
    auto client = connect_to(service);
    if (!client) return fail(client.error());
    auto reply = client->ask(method, target, body, timeout);
    if (reply) return reply;
    const bool may_ask_again = method == "GET" && reply.error().errno_value() == ECONNRESET;
    if (!may_ask_again || attempt == kAttemptsMax) return fail(reply.error());
  }
}

Result<std::string> call_api(const std::string& service, std::string_view method,
                             std::string_view target, std::string_view body, Duration timeout) {
  auto reply = ask_api(service, method, target, body, timeout);
  if (!reply) return fail(reply.error());
  return body_of(std::move(*reply));
}

Result<void> follow_api(const std::string& service, std::string_view target,
                        const std::function<bool(std::string_view line)>& on_line) {
  auto client = connect_to(service);
  if (!client) return fail(client.error());
  const auto reply = client->follow(
      target, kAnswerTimeout, [&](std::string_view line) { return line.empty() || on_line(line); });
  if (!reply) return fail(reply.error());
  if (reply->status == 200) return {};
  const auto body = body_of(*reply);
  return body ? Result<void>() : fail(body.error());
}

std::string encode_for_target(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (is_plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

int complain(const Error& error) {
  fmt::print(stderr, "pillion: {}\n", error.message());
  return error.errno_value() == ENOENT ? kExitNotRunning : kExitFailed;
}

}  // namespace pillion::supervisor::cli
