// The record layer of TLS 1.3 by itself (RFC 8446 §5), for the server's side of a connection whose
// handshake OpenSSL has made: two keys and two counters take its place, a fifth of the memory, and
// a record costs one call of the cipher. Sans-I/O. What OpenSSL would still have to do after the
// handshake is here: new keys (§4.6.3), alerts, and refusing all else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

struct evp_cipher_ctx_st;

namespace pillion::proxy {

inline constexpr std::size_t kTlsHashBytesMax = 48;

// What a handshake leaves behind: the application's traffic secrets (RFC 8446 §7.1).
struct TlsSecret {
  std::array<std::uint8_t, kTlsHashBytesMax> bytes{};
  std::size_t size = 0;

  TlsSecret() = default;
  TlsSecret(const TlsSecret&) = default;
  TlsSecret& operator=(const TlsSecret&) = default;
  ~TlsSecret();  // leaves nothing readable
  std::span<const std::uint8_t> view() const { return {bytes.data(), size}; }
};

class TlsRecords {
 public:
  static constexpr std::size_t kHeaderBytes = 5;
  static constexpr std::size_t kPlainBytesMax = 16 * 1024;
  static constexpr std::size_t kOverheadBytes = kHeaderBytes + 1 + 16;  // type and tag behind
  static constexpr std::size_t kRecordBytesMax = kHeaderBytes + kPlainBytesMax + 256;
  static constexpr std::size_t kUpdateBytes = kOverheadBytes + 5;

  // `suite` as in RFC 8446 §B.4; null for one that is not known. `records_written` with the
  // server's key already (session tickets).
  static std::unique_ptr<TlsRecords> create(std::uint16_t suite, const TlsSecret& read,
                                            const TlsSecret& write, std::uint64_t records_written);

  enum class Event : std::uint8_t {
    NeedMore,  // the record is not whole
    Data,
    Nothing,  // it was not for the application
    Closed,   // close_notify
    Failed,   // see failure(); alert() is to be sent
  };
  struct Opened {
    Event event = Event::NeedMore;
    std::size_t used = 0;
    std::string_view data;  // within `bytes`
  };
  // Opens the record at the front of `bytes`, in place. Nothing may follow Closed or Failed.
  Opened open(char* bytes, std::size_t size);
  std::string_view failure() const { return failure_; }  // static text
  bool owes_alert() const { return alert_ != 0; }

  // Makes a record of the `size` bytes (at most kPlainBytesMax) at `record` + kHeaderBytes; there
  // must be room for kOverheadBytes beside them. Returns its size.
  std::size_t seal_data(char* record, std::size_t size) { return seal(record, size, kData); }
  std::size_t seal(char* record, std::size_t size, std::uint8_t type);  // of another type
  std::size_t seal_close(char* record);                                 // close_notify
  std::size_t seal_alert(char* record);                                 // why open() failed
  // New keys where they are owed or due, before data: writes at most kUpdateBytes, or nothing.
  std::size_t seal_update(char* record);

 private:
  static constexpr std::uint8_t kAlert = 21, kHandshake = 22, kData = 23;
  static constexpr std::size_t kNonceBytes = 12;

  struct Side {
    std::unique_ptr<evp_cipher_ctx_st, void (*)(evp_cipher_ctx_st*)> cipher{nullptr, nullptr};
    std::array<std::uint8_t, kNonceBytes> iv{};
    std::uint64_t records = 0;
    TlsSecret secret;
  };

  TlsRecords() = default;
  void set_keys(Side& side, bool is_write);
  void renew(Side& side, bool is_write);
  std::array<std::uint8_t, kNonceBytes> next_nonce(Side& side);
  bool decrypt(char* bytes, std::size_t size);
  Opened dispatch(std::size_t used, char* content, std::size_t size, std::uint8_t type);
  bool take_handshake(std::string_view content);
  Opened fail(std::uint8_t alert, std::string_view failure);

  std::uint16_t suite_ = 0;
  std::uint8_t alert_ = 0;
  std::uint8_t update_bytes_ = 0;  // of a KeyUpdate that comes in parts
  std::uint8_t idle_records_ = 0;  // in a row that brought no data
  bool owes_update_ = false;
  std::array<char, 5> update_{};
  std::string_view failure_;
  Side read_;
  Side write_;
};

}  // namespace pillion::proxy
