#include "proxy/tls_records.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>

#include "runtime/result.h"

namespace pillion::proxy {
namespace {

constexpr std::size_t kTagBytes = 16;
// New keys well before the cipher's limit of 2^24.5 full records (RFC 8446 §5.5).
constexpr std::uint64_t kRecordsPerKey = 1ull << 23;
// As OpenSSL's limit for empty records; what a peer sends for nothing has an end.
constexpr std::uint8_t kIdleRecordsMax = 32;

// Alerts, RFC 8446 §6.
constexpr std::uint8_t kUnexpectedMessage = 10, kBadRecordMac = 20, kRecordOverflow = 22;
constexpr std::uint8_t kIllegalParameter = 47, kDecodeError = 50, kUserCanceled = 90;

struct Suite {
  const EVP_CIPHER* cipher;
  const EVP_MD* hash;
  std::size_t hash_bytes;
  std::size_t key_bytes;
};

// Looked up once; each look-up by name would cost as much as a record.
const Suite* find_suite(std::uint16_t number) {
  static const Suite suites[] = {
      {EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr), EVP_sha256(), 32, 16},
      {EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), EVP_sha384(), 48, 32},
      {EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr), EVP_sha256(), 32, 32}};
  if (number < 0x1301 || number > 0x1303) return nullptr;
  const Suite& suite = suites[number - 0x1301];
  return suite.cipher == nullptr ? nullptr : &suite;
}

// HKDF-Expand-Label without a context (RFC 8446 §7.1): one block of HMAC is enough.
void expand_label(const Suite& suite, const TlsSecret& secret, std::string_view label,
                  std::uint8_t* out, std::size_t size) {
  std::uint8_t info[32];
  std::size_t at = 0;
  info[at++] = 0;
  info[at++] = static_cast<std::uint8_t>(size);
  info[at++] = static_cast<std::uint8_t>(6 + label.size());
  std::memcpy(info + at, "tls13 ", 6);
  std::memcpy(info + at + 6, label.data(), label.size());
  at += 6 + label.size();
  info[at++] = 0;  // context
  info[at++] = 1;  // first block
  std::uint8_t block[EVP_MAX_MD_SIZE];
  unsigned block_size = 0;
  PILLION_ASSERT(HMAC(suite.hash, secret.bytes.data(), static_cast<int>(secret.size), info, at,
                      block, &block_size) != nullptr);
  PILLION_ASSERT(size <= block_size);
  std::memcpy(out, block, size);
  OPENSSL_cleanse(block, sizeof block);
}

unsigned char* bytes_of(char* text) { return reinterpret_cast<unsigned char*>(text); }

void write_header(char* record, std::size_t payload) {
  record[0] = 23;  // what a record is, its last byte says under the cipher
  record[1] = record[2] = 3;
  record[3] = static_cast<char>(payload >> 8);
  record[4] = static_cast<char>(payload & 0xff);
}

}  // namespace

TlsSecret::~TlsSecret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

// ---- Keys ---------------------------------------------------------------------------------------

std::unique_ptr<TlsRecords> TlsRecords::create(std::uint16_t suite, const TlsSecret& read,
                                               const TlsSecret& write,
                                               std::uint64_t records_written) {
  const Suite* known = find_suite(suite);
  if (known == nullptr || read.size != known->hash_bytes || write.size != known->hash_bytes) {
    return nullptr;
  }
  std::unique_ptr<TlsRecords> made(new TlsRecords);
  made->suite_ = suite;
  made->read_.secret = read;
  made->write_.secret = write;
  made->set_keys(made->read_, false);
  made->set_keys(made->write_, true);
  made->write_.records = records_written;
  return made;
}

void TlsRecords::set_keys(Side& side, bool is_write) {
  const Suite& suite = *find_suite(suite_);
  std::uint8_t key[32];
  expand_label(suite, side.secret, "key", key, suite.key_bytes);
  expand_label(suite, side.secret, "iv", side.iv.data(), side.iv.size());
  side.records = 0;
  if (!side.cipher) side.cipher = {EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};
  PILLION_ASSERT(side.cipher != nullptr);
  PILLION_ASSERT(EVP_CipherInit_ex(side.cipher.get(), suite.cipher, nullptr, key, nullptr,
                                   is_write ? 1 : 0) == 1);
  OPENSSL_cleanse(key, sizeof key);
}

// RFC 8446 §7.2.
void TlsRecords::renew(Side& side, bool is_write) {
  TlsSecret next;
  next.size = side.secret.size;
  expand_label(*find_suite(suite_), side.secret, "traffic upd", next.bytes.data(), next.size);
  side.secret = next;
  set_keys(side, is_write);
}

// RFC 8446 §5.3.
std::array<std::uint8_t, TlsRecords::kNonceBytes> TlsRecords::next_nonce(Side& side) {
  auto nonce = side.iv;
  const std::uint64_t number = side.records++;
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[kNonceBytes - 1 - i] ^= static_cast<std::uint8_t>(number >> (8 * i));
  }
  return nonce;
}

// ---- Sending ------------------------------------------------------------------------------------

std::size_t TlsRecords::seal(char* record, std::size_t size, std::uint8_t type) {
  char* content = record + kHeaderBytes;
  content[size] = static_cast<char>(type);
  const std::size_t plain = size + 1;
  write_header(record, plain + kTagBytes);
  const auto nonce = next_nonce(write_);
  EVP_CIPHER_CTX* cipher = write_.cipher.get();
  int written = 0;
  const bool is_sealed =
      EVP_EncryptInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
      EVP_EncryptUpdate(cipher, nullptr, &written, bytes_of(record), kHeaderBytes) == 1 &&
      EVP_EncryptUpdate(cipher, bytes_of(content), &written, bytes_of(content),
                        static_cast<int>(plain)) == 1 &&
      EVP_EncryptFinal_ex(cipher, bytes_of(content) + plain, &written) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, kTagBytes, content + plain) == 1;
  PILLION_ASSERT(is_sealed);
  return kHeaderBytes + plain + kTagBytes;
}

std::size_t TlsRecords::seal_close(char* record) {
  record[kHeaderBytes] = 1;  // warning
  record[kHeaderBytes + 1] = 0;
  return seal(record, 2, kAlert);
}

std::size_t TlsRecords::seal_alert(char* record) {
  record[kHeaderBytes] = 2;  // fatal
  record[kHeaderBytes + 1] = static_cast<char>(alert_);
  return seal(record, 2, kAlert);
}

std::size_t TlsRecords::seal_update(char* record) {
  if (!owes_update_ && write_.records < kRecordsPerKey) return 0;
  owes_update_ = false;
  constexpr char kMessage[] = {24, 0, 0, 1, 0};  // key_update, one byte, update_not_requested
  std::memcpy(record + kHeaderBytes, kMessage, sizeof kMessage);
  const std::size_t size = seal(record, sizeof kMessage, kHandshake);
  renew(write_, true);
  return size;
}

// ---- Receiving ----------------------------------------------------------------------------------

TlsRecords::Opened TlsRecords::fail(std::uint8_t alert, std::string_view failure) {
  alert_ = alert;
  failure_ = failure;
  return {Event::Failed, 0, {}};
}

// `bytes` is a whole record; its content is left behind the header.
bool TlsRecords::decrypt(char* bytes, std::size_t size) {
  const auto nonce = next_nonce(read_);
  EVP_CIPHER_CTX* cipher = read_.cipher.get();
  char* content = bytes + kHeaderBytes;
  const std::size_t plain = size - kHeaderBytes - kTagBytes;
  int written = 0;
  return EVP_DecryptInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
         EVP_DecryptUpdate(cipher, nullptr, &written, bytes_of(bytes), kHeaderBytes) == 1 &&
         EVP_DecryptUpdate(cipher, bytes_of(content), &written, bytes_of(content),
                           static_cast<int>(plain)) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, kTagBytes, content + plain) == 1 &&
         EVP_DecryptFinal_ex(cipher, bytes_of(content) + plain, &written) == 1;
}

TlsRecords::Opened TlsRecords::open(char* bytes, std::size_t size) {
  if (size < kHeaderBytes) return {};
  const std::size_t payload = static_cast<std::size_t>(static_cast<unsigned char>(bytes[3])) << 8 |
                              static_cast<unsigned char>(bytes[4]);
  if (bytes[0] != static_cast<char>(kData)) {
    return fail(kUnexpectedMessage, "a record is not encrypted");
  }
  if (payload > kRecordBytesMax - kHeaderBytes)
    return fail(kRecordOverflow, "a record is too long");
  if (payload < 1 + kTagBytes) return fail(kBadRecordMac, "a record is too short");
  if (size < kHeaderBytes + payload) return {};
  if (!decrypt(bytes, kHeaderBytes + payload)) {
    return fail(kBadRecordMac, "decryption failed or bad record mac");
  }
  // The type is the last byte that is not padding.
  char* content = bytes + kHeaderBytes;
  std::size_t end = payload - kTagBytes;
  while (end > 0 && content[end - 1] == 0) --end;
  if (end == 0) return fail(kUnexpectedMessage, "a record has no type");
  if (end - 1 > kPlainBytesMax) return fail(kRecordOverflow, "a record is too long");
  return dispatch(kHeaderBytes + payload, content, end - 1,
                  static_cast<std::uint8_t>(content[end - 1]));
}

TlsRecords::Opened TlsRecords::dispatch(std::size_t used, char* content, std::size_t size,
                                        std::uint8_t type) {
  if (type == kData && size > 0 && update_bytes_ == 0) {
    idle_records_ = 0;
    return {Event::Data, used, {content, size}};
  }
  if (++idle_records_ > kIdleRecordsMax) {
    return fail(kUnexpectedMessage, "too many records without data");
  }
  if (type == kHandshake) {
    return take_handshake({content, size}) ? Opened{Event::Nothing, used, {}}
                                           : Opened{Event::Failed, 0, {}};
  }
  if (update_bytes_ != 0) return fail(kUnexpectedMessage, "a message was interrupted");
  if (type == kData) return {Event::Nothing, used, {}};
  if (type != kAlert) return fail(kUnexpectedMessage, "a record has an unknown type");
  if (size != 2) return fail(kDecodeError, "an alert is malformed");
  const auto description = static_cast<std::uint8_t>(content[1]);
  if (description == 0) return {Event::Closed, used, {}};
  if (description == kUserCanceled) return {Event::Nothing, used, {}};
  fail(kUserCanceled, "the peer sent an alert");
  alert_ = 0;  // it has ended the connection already
  return {Event::Failed, 0, {}};
}

// Only new keys may come; a message never spans a change of keys (RFC 8446 §5.1).
bool TlsRecords::take_handshake(std::string_view content) {
  if (content.empty() || content.size() > update_.size() - update_bytes_) {
    fail(kUnexpectedMessage, "an unexpected handshake message came");
    return false;
  }
  std::copy(content.begin(), content.end(), update_.begin() + update_bytes_);
  update_bytes_ = static_cast<std::uint8_t>(update_bytes_ + content.size());
  constexpr std::string_view kStart("\x18\0\0\x01", 4);
  const std::size_t known = std::min<std::size_t>(update_bytes_, kStart.size());
  if (std::string_view(update_.data(), known) != kStart.substr(0, known)) {
    fail(kUnexpectedMessage, "an unexpected handshake message came");
    return false;
  }
  if (update_bytes_ < update_.size()) return true;
  update_bytes_ = 0;
  const auto request = static_cast<std::uint8_t>(update_[4]);
  if (request > 1) {
    fail(kIllegalParameter, "a request for new keys is malformed");
    return false;
  }
  renew(read_, false);
  if (request == 1) owes_update_ = true;
  return true;
}

}  // namespace pillion::proxy
