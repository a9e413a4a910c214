#include "supervisor/control/control_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace pillion::supervisor::control {

namespace {

std::string refuse_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool is_known = ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  if (is_known && (peer.uid == 0 || peer.uid == ::geteuid())) return {};
  return "only root and the service's own user may ask";
}

HttpServerOptions options_of(const ControlLimits& limits) {
  HttpServerOptions options;
  options.body_bytes_max = kBodyBytesMax;
  options.connections_max = limits.connections_max;
  options.request_timeout = limits.client_timeout;
  options.idle_timeout = limits.client_timeout;
  options.stream_bytes_max = limits.output_bytes_max;
  options.refuse_peer = refuse_peer;
  options.waiters_max = [limits](const HttpServerRequest& http) -> std::size_t {
    ApiRequest request;
    request.query_parameters = parse_query(http.query);
    if (!request.has_flag("wait") && !request.has_flag("follow")) return 0;
    return http.path == "/v1/stop" ? limits.stoppers_max : limits.waiters_max;
  };
  options.describe_refusal = [](int status, const std::string& reason) {
    return HttpServerResponse::json(status, error_json(reason) + "\n");
  };
  return options;
}

}  // namespace

ControlServer::ControlServer(Loop& loop, Fd listener, const Api& api, ControlLimits limits)
    : server_(loop, options_of(limits)) {
  server_.set_fallback([&api](const HttpServerRequest& request, HttpResponder respond) {
    api.handle(request, std::move(respond));
  });
  server_.serve(std::move(listener));
}

}  // namespace pillion::supervisor::control
