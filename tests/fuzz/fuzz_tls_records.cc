// Records of TLS 1.3 from a peer that has the keys: whatever it seals, never a crash, and data
// comes out as it went in. The input is a list of: type, padding, size (one byte each), content; a
// type of 0 stands for bytes that are not sealed at all.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "proxy/tls_records.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pillion::proxy;
  TlsSecret one, other;
  one.size = other.size = 32;
  other.bytes[0] = 1;
  const auto ours = TlsRecords::create(0x1301, one, other, 0);
  const auto peer = TlsRecords::create(0x1301, other, one, 0);
  while (size >= 3) {
    const std::uint8_t type = data[0];
    const std::size_t padding = data[1];
    const std::size_t count = std::min<std::size_t>(data[2], size - 3);
    std::string record(TlsRecords::kHeaderBytes, '\0');
    record.append(reinterpret_cast<const char*>(data + 3), count);
    const std::string content = record.substr(TlsRecords::kHeaderBytes);
    data += 3 + count;
    size -= 3 + count;
    if (type == 0) {
      record = content;
    } else {
      if (padding > 0) record.append(1, static_cast<char>(type)).append(padding - 1, '\0');
      const std::size_t plain = record.size() - TlsRecords::kHeaderBytes;
      record.resize(record.size() + TlsRecords::kOverheadBytes);
      record.resize(peer->seal(record.data(), plain, padding > 0 ? 0 : type));
    }
    const auto opened = ours->open(record.data(), record.size());
    if (opened.used > record.size()) std::abort();
    if (opened.event == TlsRecords::Event::Data && (type != 23 || opened.data != content))
      std::abort();
    if (opened.event == TlsRecords::Event::Failed && ours->failure().empty()) std::abort();
    if (opened.event == TlsRecords::Event::Failed || opened.event == TlsRecords::Event::Closed)
      break;
    char update[TlsRecords::kUpdateBytes];
    if (ours->seal_update(update) > sizeof update) std::abort();
  }
  return 0;
}
