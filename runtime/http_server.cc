// Core owns listeners and connections; a connection handles one request at a time (pipelined ones
// wait in its input) and is deleted through the loop. A responder may outlive its connection: it
// holds a ticket that the connection tears up when it goes. Longer than
// 600 lines because server and connection know each other well.
#include "runtime/http_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <strings.h>
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <optional>
#include <utility>

#include "runtime/http1/chunked.h"
#include "runtime/http1/framing.h"
#include "runtime/http1/head.h"
#include "runtime/http1/head_parser.h"
#include "runtime/http1/head_writer.h"

namespace pillion {
namespace {

constexpr std::size_t kReadBytes = 16384;
constexpr int kAcceptsPerWakeupMax = 16;
constexpr int kLastReadsMax = 16;
constexpr Duration kAcceptPause = std::chrono::seconds(1);

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[64];
  const std::size_t size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return std::string(text, size);
}

HttpServerRequest to_request(const http1::RequestHead& head) {
  HttpServerRequest request;
  request.method = head.method;
  const auto question = head.path.find('?');
  request.path = head.path.substr(0, question);
  if (question != std::string_view::npos) request.query = head.path.substr(question + 1);
  for (const auto& field : head.fields.all()) {
    request.headers.emplace_back(head.fields.name(field), head.fields.value(field));
  }
  return request;
}

void write_head(http1::HeadWriter& writer, const HttpServerResponse& response, bool keeps_alive) {
  writer.status_line(response.status, http1::reason_phrase(response.status));
  for (const auto& [name, value] : response.headers) writer.field(name, value);
  writer.field("Date", http_date());
  if (!keeps_alive) writer.field("Connection", "close");
}

std::string serialise(const HttpServerResponse& response, bool is_head, bool keeps_alive) {
  std::string out;
  http1::HeadWriter writer(out);
  write_head(writer, response, keeps_alive);
  writer.content_length(response.body.size());
  writer.end();
  if (!is_head) out += response.body;
  return out;
}

// Both directions are over, which only a Unix socket can tell before something is sent.
bool is_hung_up(int socket) {
  pollfd watched{socket, 0, 0};
  return ::poll(&watched, 1, 0) == 1 && (watched.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

std::string_view find_header(const HttpHeaders& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (equals_ignoring_case(key, name)) return value;
  }
  return {};
}

HttpServerResponse HttpServerResponse::text(int status, std::string body) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body)};
}
HttpServerResponse HttpServerResponse::json(int status, std::string body) {
  return {status, {{"Content-Type", "application/json"}}, std::move(body)};
}

class HttpServer::Core {
 public:
  Core(Loop& loop_in, HttpServerOptions options_in) : loop(loop_in), options(options_in) {}

  class Connection;
  struct Listener {
    Fd socket;
    Poll poll;
    Timer pause;
  };

  void accept_some(Listener& listener);
  HttpServerResponse refusal(int status, std::string_view reason) const;
  // The limit that this request is beyond, 0 when it is not.
  std::size_t too_many_waiters(const HttpServerRequest& request) const;
  void remove(Connection* connection);
  void dispatch(const HttpServerRequest& request, HttpResponder respond);
  void check_drained();

  Loop& loop;
  HttpServerOptions options;
  std::map<std::string, std::map<std::string, HttpServerHandler>> routes;  // path → method
  HttpServerHandler fallback;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::unique_ptr<Connection>> connections;
  std::function<void()> on_drained;
  bool is_draining = false;
};

// Shared with the responder and the stream, which may be used after the connection is gone.
struct HttpStream::Ticket {
  HttpServer::Core::Connection* connection;
};

class HttpServer::Core::Connection {
 public:
  Connection(Core& core, Fd socket)
      : core_(core),
        socket_(std::move(socket)),
        poll_(core.loop, socket_.get()),
        timer_(core.loop) {
    poll_.start(kReadable, [this](int events, int error) { on_event(events, error); });
    arm(core_.options.idle_timeout);
  }
  ~Connection() {
    if (ticket_) ticket_->connection = nullptr;
    poll_.stop();
  }

  bool is_idle() const { return state_ == State::Head && input_.empty(); }
  bool is_streaming() const { return state_ == State::Streaming; }
  bool is_waiting() const { return state_ == State::Handling || state_ == State::Streaming; }
  void refuse(int status, std::string_view reason);
  bool write_piece(std::string_view bytes);
  void end_stream();
  void close();

 private:
  enum class State { Head, Body, Handling, Streaming, Writing, Closed };
  using Ticket = HttpStream::Ticket;

  void arm(Duration timeout) {
    timer_.start(timeout, [this] { on_timeout(); });
  }
  void on_timeout() {
    if (is_idle() || state_ == State::Writing || state_ == State::Streaming)
      close();
    else if (state_ == State::Handling)
      arm(core_.options.request_timeout);
    else
      refuse(408, "the request took too long");
  }
  void on_event(int events, int error);
  bool read_some();
  void advance();
  void parse_head();
  void begin_body(const http1::Framing& framing);
  void read_body();
  bool read_chunked_body();
  void handle();
  void on_response(HttpServerResponse response);
  void begin_stream(HttpServerResponse response);
  void flush();
  void on_written();

  Core& core_;
  Fd socket_;
  Poll poll_;
  Timer timer_;
  State state_ = State::Head;
  std::string input_;
  std::string output_;
  std::size_t output_sent_ = 0;
  http1::ParseProgress progress_;
  http1::RequestHead head_;
  http1::ChunkedDecoder decoder_;
  http1::Framing framing_;
  HttpServerRequest request_;
  std::shared_ptr<Ticket> ticket_;
  bool keeps_alive_ = true;
  bool is_input_closed_ = false;
  bool is_chunked_ = false;
  http1::Version head_version_ = http1::Version::Http11;
};

void HttpServer::Core::Connection::on_event(int events, int error) {
  if (state_ == State::Closed) return;
  if (error != 0) {
    close();
    return;
  }
  if ((events & kWritable) != 0) {
    flush();
    return;
  }
  if (!read_some()) {
    close();
    return;
  }
  advance();
}

// False when the connection is of no more use: an error, or the peer's end with nothing to answer.
bool HttpServer::Core::Connection::read_some() {
  char buffer[kReadBytes];
  const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0) {
    is_input_closed_ = true;
    poll_.stop();
    // A peer may close its half and wait for the answer, as `nc -N` does.
    return state_ >= State::Handling && !is_hung_up(socket_.get());
  }
  if (is_idle()) arm(core_.options.request_timeout);
  input_.append(buffer, static_cast<std::size_t>(count));
  return true;
}

void HttpServer::Core::Connection::advance() {
  if (state_ == State::Head) parse_head();
  if (state_ == State::Body) read_body();
  // A client that sends on while we answer waits in the socket's buffer, not in ours.
  if (state_ == State::Handling && !is_input_closed_) poll_.set_events(kDisconnect);
}

bool HttpServer::Core::Connection::write_piece(std::string_view bytes) {
  if (state_ != State::Streaming) return false;
  if (bytes.empty()) return true;
  if (output_.size() - output_sent_ + bytes.size() > core_.options.stream_bytes_max) {
    close();
    return false;
  }
  if (output_sent_ > 0) output_.erase(0, std::exchange(output_sent_, 0));
  const bool was_empty = output_.empty();
  if (is_chunked_) {
    char size[http1::kChunkSizeLineMax];
    output_.append(size, http1::write_chunk_size(size, bytes.size()));
  }
  output_ += bytes;
  if (is_chunked_) output_ += "\r\n";
  if (was_empty) {
    arm(core_.options.request_timeout);
    flush();
  }
  return state_ == State::Streaming;
}

void HttpServer::Core::Connection::end_stream() {
  if (state_ != State::Streaming) return;
  ticket_->connection = nullptr;
  ticket_.reset();
  if (is_chunked_) output_ += http1::kLastChunk;
  state_ = State::Writing;
  arm(core_.options.request_timeout);
  flush();
}

void HttpServer::Core::Connection::parse_head() {
  if (input_.empty()) return;
  const auto result = http1::parse_request(input_, progress_, {}, head_);
  if (result.status == http1::ParseStatus::NeedMore) return;
  if (result.status == http1::ParseStatus::Failed) {
    refuse(result.error.status, result.error.reason);
    return;
  }
  const auto framing = http1::request_framing(head_);
  if (!framing.is_ok()) {
    refuse(framing.error.status, framing.error.reason);
    return;
  }
  request_ = to_request(head_);
  head_version_ = head_.version;
  keeps_alive_ = http1::wants_keep_alive(head_.fields, head_.version) && !core_.is_draining;
  const bool wants_continue = head_.fields.has_list_element(http1::FieldId::Expect, "100-continue");
  input_.erase(0, result.head_bytes);
  progress_ = {};
  begin_body(framing.framing);
  if (state_ == State::Body && wants_continue && input_.empty()) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    // A short write can only happen on a full socket buffer, which a client that waits has not.
    (void)::send(socket_.get(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL);
  }
}

void HttpServer::Core::Connection::begin_body(const http1::Framing& framing) {
  framing_ = framing;
  if (framing.kind == http1::BodyKind::None ||
      (framing.kind == http1::BodyKind::Length && framing.length == 0)) {
    handle();
    return;
  }
  if (framing.kind == http1::BodyKind::Length && framing.length > core_.options.body_bytes_max) {
    refuse(413,
           "the body is longer than " + std::to_string(core_.options.body_bytes_max) + " bytes");
    return;
  }
  decoder_.reset();
  state_ = State::Body;
}

void HttpServer::Core::Connection::read_body() {
  if (framing_.kind == http1::BodyKind::Length) {
    const std::size_t missing = framing_.length - request_.body.size();
    const std::size_t count = std::min(missing, input_.size());
    request_.body.append(input_, 0, count);
    input_.erase(0, count);
    if (request_.body.size() == framing_.length) handle();
    return;
  }
  if (read_chunked_body()) handle();
}

// True when the body is complete.
bool HttpServer::Core::Connection::read_chunked_body() {
  std::size_t consumed = 0;
  for (;;) {
    const auto step = decoder_.next(std::string_view(input_).substr(consumed));
    consumed += step.consumed;
    using Event = http1::ChunkedDecoder::Event;
    if (step.event == Event::Failed) {
      refuse(decoder_.error().status, decoder_.error().reason);
      return false;
    }
    if (step.event == Event::Data) {
      if (request_.body.size() + step.data.size() > core_.options.body_bytes_max) {
        refuse(413, "the body is longer than " + std::to_string(core_.options.body_bytes_max) +
                        " bytes");
        return false;
      }
      request_.body.append(step.data);
      continue;
    }
    input_.erase(0, consumed);
    return step.event == Event::Done;
  }
}

void HttpServer::Core::Connection::handle() {
  state_ = State::Handling;
  ticket_ = std::make_shared<Ticket>(Ticket{this});
  if (const std::size_t waiters_max = core_.too_many_waiters(request_)) {
    keeps_alive_ = false;
    return on_response(core_.refusal(
        503, std::to_string(waiters_max) + " clients wait for an answer already, and more may not: "
                                           "ask without waiting, and look again later"));
  }
  core_.dispatch(request_, [ticket = ticket_](HttpServerResponse response) {
    if (ticket->connection != nullptr) ticket->connection->on_response(std::move(response));
  });
}

void HttpServer::Core::Connection::on_response(HttpServerResponse response) {
  if (state_ != State::Handling) return;
  keeps_alive_ = keeps_alive_ && !core_.is_draining;
  if (response.on_stream && request_.method != "HEAD") {
    begin_stream(std::move(response));
    return;
  }
  ticket_->connection = nullptr;
  ticket_.reset();
  output_ = serialise(response, request_.method == "HEAD", keeps_alive_);
  output_sent_ = 0;
  state_ = State::Writing;
  arm(core_.options.request_timeout);
  flush();
}

void HttpServer::Core::Connection::begin_stream(HttpServerResponse response) {
  is_chunked_ = head_version_ == http1::Version::Http11;
  keeps_alive_ = keeps_alive_ && is_chunked_;
  output_.clear();
  output_sent_ = 0;
  http1::HeadWriter writer(output_);
  write_head(writer, response, keeps_alive_);
  if (is_chunked_) writer.chunked();
  writer.end();
  state_ = State::Streaming;
  arm(core_.options.request_timeout);
  if (!is_input_closed_) poll_.set_events(kDisconnect);
  flush();
  write_piece(response.body);
  HttpStream stream;
  stream.ticket_ = ticket_;
  response.on_stream(std::move(stream));
}

void HttpServer::Core::Connection::refuse(int status, std::string_view reason) {
  keeps_alive_ = false;  // bytes after an error are never parsed
  input_.clear();
  output_ = serialise(core_.refusal(status, reason), false, false);
  output_sent_ = 0;
  state_ = State::Writing;
  arm(core_.options.request_timeout);
  flush();
}

void HttpServer::Core::Connection::flush() {
  while (output_sent_ < output_.size()) {
    const ssize_t count = ::send(socket_.get(), output_.data() + output_sent_,
                                 output_.size() - output_sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      poll_.set_events(kWritable);
      return;
    }
    if (count < 0) {
      close();
      return;
    }
    output_sent_ += static_cast<std::size_t>(count);
  }
  on_written();
}

void HttpServer::Core::Connection::on_written() {
  if (state_ == State::Streaming) {
    output_.clear();
    output_sent_ = 0;
    timer_.stop();  // a stream may be quiet for as long as it likes
    poll_.set_events(is_input_closed_ ? 0 : kDisconnect);
    return;
  }
  if (!keeps_alive_ || is_input_closed_) {
    close();
    return;
  }
  request_ = {};
  output_.clear();
  state_ = State::Head;
  arm(core_.options.idle_timeout);
  poll_.set_events(kReadable);
  if (!input_.empty())
    core_.loop.defer([ticket = ticket_ = std::make_shared<Ticket>(Ticket{this})] {
      if (ticket->connection != nullptr) ticket->connection->advance();
    });
}

void HttpServer::Core::Connection::close() {
  if (state_ == State::Closed) return;
  // What the peer still sends must not turn our last words into a reset.
  ::shutdown(socket_.get(), SHUT_WR);
  char rest[kReadBytes];
  for (int i = 0; i < kLastReadsMax && !is_input_closed_; ++i) {
    if (::recv(socket_.get(), rest, sizeof rest, MSG_DONTWAIT) <= 0) break;
  }
  state_ = State::Closed;
  timer_.stop();
  poll_.stop();
  core_.remove(this);
}

void HttpServer::Core::accept_some(Listener& listener) {
  for (int i = 0; i < kAcceptsPerWakeupMax; ++i) {
    Fd socket(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
      // The connection stays in the backlog and would wake us again at once.
      listener.poll.set_events(0);
      listener.pause.start(kAcceptPause, [&listener] { listener.poll.set_events(kReadable); });
      return;
    }
    const bool is_full = connections.size() >= options.connections_max;
    const std::string reason =
        options.refuse_peer ? options.refuse_peer(socket.get()) : std::string();
    connections.push_back(std::make_unique<Connection>(*this, std::move(socket)));
    if (!reason.empty()) {
      connections.back()->refuse(403, reason);
    } else if (is_full) {
      connections.back()->refuse(503, "too many connections");
    }
  }
}

HttpServerResponse HttpServer::Core::refusal(int status, std::string_view reason) const {
  if (options.describe_refusal) return options.describe_refusal(status, std::string(reason));
  return HttpServerResponse::text(status, std::string(reason) + "\n");
}

std::size_t HttpServer::Core::too_many_waiters(const HttpServerRequest& request) const {
  const std::size_t limit = options.waiters_max ? options.waiters_max(request) : 0;
  if (limit == 0) return 0;
  const auto waiting = std::count_if(connections.begin(), connections.end(),
                                     [](const auto& held) { return held->is_waiting(); });
  return static_cast<std::size_t>(waiting) > limit ? limit : 0;
}

void HttpServer::Core::remove(Connection* connection) {
  const auto found = std::find_if(connections.begin(), connections.end(),
                                  [&](const auto& held) { return held.get() == connection; });
  if (found == connections.end()) return;
  loop.defer_delete(std::move(*found));
  connections.erase(found);
  check_drained();
}

void HttpServer::Core::check_drained() {
  if (!is_draining || !connections.empty() || !on_drained) return;
  loop.defer(std::exchange(on_drained, nullptr));
}

void HttpServer::Core::dispatch(const HttpServerRequest& request, HttpResponder respond) {
  const auto path = routes.find(request.path);
  if (path == routes.end()) {
    if (fallback) {
      fallback(request, std::move(respond));
      return;
    }
    std::string known;
    for (const auto& [name, handlers] : routes) known += (known.empty() ? "" : ", ") + name;
    respond(refusal(404, "no such path: " + request.path + "; known are " + known));
    return;
  }
  auto method = path->second.find(request.method);
  if (method == path->second.end() && request.method == "HEAD") method = path->second.find("GET");
  if (method != path->second.end()) {
    method->second(request, std::move(respond));
    return;
  }
  std::string allowed;
  for (const auto& [name, handler] : path->second) allowed += (allowed.empty() ? "" : ", ") + name;
  auto response = refusal(405, "use " + allowed);
  response.headers.emplace_back("Allow", allowed);
  respond(std::move(response));
}

HttpServer::HttpServer(Loop& loop, HttpServerOptions options)
    : core_(std::make_unique<Core>(loop, options)) {}
HttpServer::~HttpServer() = default;

void HttpServer::route(std::string method, std::string path, HttpServerHandler handler) {
  core_->routes[std::move(path)][std::move(method)] = std::move(handler);
}

void HttpServer::route(std::string method, std::string path,
                       std::function<HttpServerResponse(const HttpServerRequest&)> handler) {
  route(std::move(method), std::move(path),
        HttpServerHandler(
            [handler = std::move(handler)](const HttpServerRequest& request,
                                           HttpResponder respond) { respond(handler(request)); }));
}

void HttpServer::set_fallback(HttpServerHandler handler) { core_->fallback = std::move(handler); }

bool HttpStream::write(std::string_view bytes) {
  return ticket_ && ticket_->connection != nullptr && ticket_->connection->write_piece(bytes);
}
void HttpStream::end() {
  if (ticket_ && ticket_->connection != nullptr) ticket_->connection->end_stream();
}
bool HttpStream::is_open() const {
  return ticket_ && ticket_->connection != nullptr && ticket_->connection->is_streaming();
}

void HttpServer::serve(Fd listener) {
  const int fd = listener.get();
  auto entry = std::make_unique<Core::Listener>(
      Core::Listener{std::move(listener), Poll(core_->loop, fd), Timer(core_->loop)});
  entry->poll.start(kReadable, [core = core_.get(), entry = entry.get()](int, int) {
    core->accept_some(*entry);
  });
  core_->listeners.push_back(std::move(entry));
}

std::size_t HttpServer::connections() const { return core_->connections.size(); }

void HttpServer::drain(std::function<void()> on_drained) {
  core_->listeners.clear();
  core_->is_draining = true;
  core_->on_drained = std::move(on_drained);
  std::vector<Core::Connection*> idle, streaming;
  for (const auto& connection : core_->connections) {
    if (connection->is_idle()) idle.push_back(connection.get());
    if (connection->is_streaming()) streaming.push_back(connection.get());
  }
  for (auto* connection : idle) connection->close();
  for (auto* connection : streaming) connection->end_stream();
  core_->check_drained();
}

void add_metrics_routes(HttpServer& server, const Registry& registry) {
  for (const char* path : {"/stats/prometheus", "/metrics"}) {
    server.route("GET", path,
                 std::function<HttpServerResponse(const HttpServerRequest&)>(
                     [&registry](const HttpServerRequest&) {
                       return HttpServerResponse{
                           200,
                           {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
                           registry.render()};
                     }));
  }
}

}  // namespace pillion
