#include "supervisor/control/control_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/fd.h"
#include "runtime/log.h"
#include "supervisor/control/request.h"

namespace pillion::supervisor::control {

namespace {

bool is_allowed(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

}  // namespace

// One client. Tells the server once when it is over.
class ControlServer::Connection {
 public:
  Connection(ControlServer& server, Fd socket)
      : server_(server),
        socket_(std::move(socket)),
        poll_(server.loop_, socket_.get()),
        timer_(server.loop_) {
    poll_.start(kReadable, [this](int events, int) { on_events(events); });
    arm_timeout();
  }

  void write_line(const std::string& line) {
    output_ += line;
    output_ += '\n';
    flush();
    if (is_over_) return;
    if (output_.size() > server_.limits_.output_bytes_max) {
      end();
      return;
    }
    poll_.set_events(output_.empty() ? kReadable : kReadable | kWritable);
    arm_timeout();
  }

  // Without a change of the connection's own life: for the last words of a process.
  void write_last_line(const std::string& line) {
    output_ += line;
    output_ += '\n';
    flush();
  }

  bool waits_for_receipt = false;

 private:
  void on_events(int events) {
    if (events & kWritable) {
      flush();
      if (!is_over_) poll_.set_events(output_.empty() ? kReadable : kReadable | kWritable);
    }
    if (!is_over_ && (events & ~kWritable) != 0) read_requests();
  }

  void read_requests() {
    char buffer[4096];
    const ssize_t count = ::read(socket_.get(), buffer, sizeof buffer);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
      end();
      return;
    }
    input_.append(buffer, static_cast<std::size_t>(count));
    for (std::size_t newline; !is_over_ && (newline = input_.find('\n')) != std::string::npos;) {
      const std::string line = input_.substr(0, newline);
      input_.erase(0, newline + 1);
      const std::string reply = server_.answer(line, *this);
      if (!reply.empty() && !is_over_) write_line(reply);
    }
    if (is_over_ || input_.size() < kRequestBytesMax) return;
    write_last_line(error_json("the request is longer than 64 KiB"));
    end();
  }

  void flush() {
    while (!output_.empty()) {
      const ssize_t count =
          ::send(socket_.get(), output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return;
      if (count < 0) {
        end();
        return;
      }
      output_.erase(0, static_cast<std::size_t>(count));
    }
  }

  // A client that only waits for the end may wait; one that owes us something may not.
  void arm_timeout() {
    timer_.start(server_.limits_.client_timeout, [this] {
      if (waits_for_receipt && output_.empty() && input_.empty()) return;
      end();
    });
  }

  void end() {
    if (std::exchange(is_over_, true)) return;
    poll_.stop();
    timer_.stop();
    server_.remove(this);
  }

  ControlServer& server_;
  Fd socket_;
  Poll poll_;
  Timer timer_;
  std::string input_;
  std::string output_;
  bool is_over_ = false;
};

ControlServer::ControlServer(Loop& loop, int listener, ControlHandlers handlers,
                             ControlLimits limits)
    : loop_(loop),
      listener_(listener),
      handlers_(std::move(handlers)),
      limits_(limits),
      accept_poll_(loop, listener) {
  accept_poll_.start(kReadable, [this](int, int) { on_connectable(); });
}

ControlServer::~ControlServer() = default;

void ControlServer::on_connectable() {
  // A few per wake-up: children come before clients.
  for (int i = 0; i < 8; ++i) {
    Fd socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      const bool is_serious = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
      if (is_serious) log::warn("cannot accept a control connection: errno {}", errno);
      return;
    }
    const char* refusal = !is_allowed(socket.get()) ? "only root and the service's own user may ask"
                          : connections_.size() >= limits_.connections_max
                              ? "too many control connections"
                              : nullptr;
    if (refusal) {
      const std::string line = error_json(refusal) + "\n";
      // Best effort: the client is turned away in any case.
      static_cast<void>(
          ::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      continue;
    }
    connections_.push_back(std::make_unique<Connection>(*this, std::move(socket)));
  }
}

void ControlServer::remove(Connection* connection) {
  const auto found =
      std::find_if(connections_.begin(), connections_.end(),
                   [&](const std::unique_ptr<Connection>& one) { return one.get() == connection; });
  if (found == connections_.end()) return;
  loop_.defer_delete(std::move(*found));
  connections_.erase(found);
}

std::string ControlServer::answer(std::string_view line, Connection& connection) {
  const auto request = parse_request(line);
  if (!request) return error_json(request.error().message());
  switch (request->command) {
    case Command::Status: return to_json(handlers_.on_status());
    case Command::Stop: break;
  }
  if (receipt_) return *receipt_;
  connection.waits_for_receipt = true;
  connection.write_last_line(R"({"stopping":true})");
  handlers_.on_stop(request->grace);
  return {};
}

void ControlServer::finish(const core::Receipt& receipt) {
  receipt_ = R"({"receipt":)" + to_json(receipt) + "}";
  // The list changes while connections end.
  std::vector<Connection*> waiting;
  for (const auto& connection : connections_) {
    if (connection->waits_for_receipt) waiting.push_back(connection.get());
  }
  for (Connection* connection : waiting) connection->write_last_line(*receipt_);
}

}  // namespace pillion::supervisor::control
