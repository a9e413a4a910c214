// A stream after slim_down(): records without OpenSSL's state. See tls_stream.h.
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/socket.h"
#include "proxy/tls_stream.h"

namespace pillion::proxy {
namespace {

// What is read at once, and before it what is left of the record before.
constexpr std::size_t kReadBytes = 64 * 1024;

// Of the thread: nothing of it outlives a call.
char* read_space() {
  thread_local const std::unique_ptr<char[]> space(
      new char[kReadBytes + TlsRecords::kRecordBytesMax]);
  return space.get();
}

}  // namespace

void TlsStream::slim_down() {
  const auto handshake = std::move(handshake_);
  if (!handshake || !is_established_ || SSL_version(ssl_) != TLS1_3_VERSION ||
      SSL_has_pending(ssl_) != 0) {
    SSL_set_read_ahead(ssl_, 1);
    return;
  }
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_);
  auto records = TlsRecords::create(SSL_CIPHER_get_protocol_id(cipher), handshake->read,
                                    handshake->write, handshake->records_written);
  if (!records) return;
  slim_ = std::make_unique<Slim>();
  slim_->records = std::move(records);
  SSL_free(ssl_);
  ssl_ = nullptr;
}

// ---- Reading ------------------------------------------------------------------------------------

// What the next read tells without an edge of the socket.
bool TlsStream::has_more_slim() const {
  return !slim_->plain.empty() || slim_->is_closed || slim_->has_ended || !failure_.empty();
}

IoResult TlsStream::end_of_slim() {
  may_have_bytes_ = false;
  if (!failure_.empty()) return {IoStatus::Failed, 0, EPROTO};
  if (slim_->is_closed) return {IoStatus::Eof, 0, 0};
  is_truncated_ = true;
  if (slim_->end_error != 0) return {IoStatus::Failed, 0, slim_->end_error};
  return {IoStatus::Eof, 0, 0};
}

IoResult TlsStream::read_slim(Socket& socket, char* buffer, std::size_t size) {
  if (!slim_->plain.empty()) {
    const std::size_t taken = std::min(size, slim_->plain.size());
    std::memcpy(buffer, slim_->plain.data(), taken);
    slim_->plain.erase(0, taken);
    if (slim_->plain.empty()) std::string().swap(slim_->plain);
    may_have_bytes_ = has_more_slim();
    return {IoStatus::Ok, taken, 0};
  }
  while (failure_.empty() && !slim_->is_closed && !slim_->has_ended) {
    char* space = read_space();
    std::size_t held = received_.size();
    std::memcpy(space, received_.data(), held);
    const bool is_readable = socket.is_transport_readable();
    if (is_readable) {
      const std::size_t wanted = std::clamp(size, TlsRecords::kRecordBytesMax, kReadBytes);
      const IoResult result = socket.read_transport(space + held, wanted);
      held += result.bytes;
      if (result.status == IoStatus::Eof || result.status == IoStatus::Failed) {
        slim_->has_ended = true;
        slim_->end_error = result.error;
      }
    }
    const std::size_t filled = open_records(socket, space, held, buffer, size);
    if (filled > 0) {
      may_have_bytes_ = has_more_slim();
      return {IoStatus::Ok, filled, 0};
    }
    if (slim_->has_ended || slim_->is_closed || !failure_.empty()) break;
    if (!socket.is_transport_readable()) {
      may_have_bytes_ = false;
      return {IoStatus::WouldBlock, 0, 0};
    }
  }
  return end_of_slim();
}

// Puts the data of the whole records among `bytes` into `buffer`, and keeps what is left.
std::size_t TlsStream::open_records(Socket& socket, char* bytes, std::size_t count, char* buffer,
                                    std::size_t size) {
  std::size_t filled = 0;
  std::size_t at = 0;
  while (true) {
    const TlsRecords::Opened opened = slim_->records->open(bytes + at, count - at);
    at += opened.used;
    if (opened.event == TlsRecords::Event::NeedMore) break;
    if (opened.event == TlsRecords::Event::Nothing) continue;
    if (opened.event == TlsRecords::Event::Data) {
      const std::size_t taken = std::min(size - filled, opened.data.size());
      std::memcpy(buffer + filled, opened.data.data(), taken);
      filled += taken;
      slim_->plain.append(opened.data.substr(taken));
      continue;
    }
    slim_->is_closed = opened.event == TlsRecords::Event::Closed;
    if (slim_->is_closed) break;
    failure_ = slim_->records->failure();
    char alert[TlsRecords::kOverheadBytes + 2];
    if (slim_->records->owes_alert() && slim_->unsent.empty()) {
      socket.write_transport(alert, slim_->records->seal_alert(alert));
    }
    break;
  }
  if (at == count) {
    if (!received_.empty()) std::string().swap(received_);
  } else {
    received_.assign(bytes + at, count - at);
  }
  return filled;
}

// ---- Writing ------------------------------------------------------------------------------------

// The rest of a record that the kernel did not take at once.
IoResult TlsStream::send_unsent(Socket& socket) {
  const IoResult result = socket.write_transport(slim_->unsent.data(), slim_->unsent.size());
  slim_->unsent.erase(0, result.bytes);
  if (result.status != IoStatus::Ok) return {result.status, 0, result.error};
  std::string().swap(slim_->unsent);
  return {IoStatus::Ok, std::exchange(slim_->unsent_plain, 0), 0};
}

IoResult TlsStream::write_slim(Socket& socket, const iovec* parts, std::size_t count) {
  std::size_t sent = 0;
  if (!slim_->unsent.empty()) {
    const IoResult result = send_unsent(socket);
    if (result.status != IoStatus::Ok) return result;
    sent = result.bytes;
  }
  std::size_t part = 0;
  std::size_t offset = sent;  // into parts[part]; what was sent stands at the front
  char space[TlsRecords::kUpdateBytes + TlsRecords::kPlainBytesMax + TlsRecords::kOverheadBytes];
  while (true) {
    const std::size_t update = slim_->records->seal_update(space);
    char* record = space + update;
    std::size_t size = 0;
    while (part < count && size < TlsRecords::kPlainBytesMax) {
      if (offset >= parts[part].iov_len) {
        offset -= parts[part++].iov_len;
        continue;
      }
      const std::size_t taken =
          std::min(parts[part].iov_len - offset, TlsRecords::kPlainBytesMax - size);
      std::memcpy(record + TlsRecords::kHeaderBytes + size,
                  static_cast<const char*>(parts[part].iov_base) + offset, taken);
      size += taken;
      offset += taken;
    }
    if (size == 0 && update == 0) return {IoStatus::Ok, sent, 0};
    std::size_t total = update;
    if (size > 0) total += slim_->records->seal_data(record, size);
    const IoResult result = socket.write_transport(space, total);
    if (result.status == IoStatus::Failed) return {IoStatus::Failed, sent, result.error};
    if (result.bytes < total) {
      slim_->unsent.assign(space + result.bytes, total - result.bytes);
      slim_->unsent_plain = size;
      return {IoStatus::WouldBlock, sent, 0};
    }
    sent += size;
  }
}

}  // namespace pillion::proxy
