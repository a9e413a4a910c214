#include "runtime/compression.h"

#include <zlib.h>
#include <zstd.h>

#include "runtime/result.h"

namespace pillion {
namespace {

constexpr int kZstdLevel = 1;

std::string gzipped(std::string_view text) {
  z_stream stream{};
  PILLION_ASSERT(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) ==
                 Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  PILLION_ASSERT(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd_compressed(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const std::size_t size =
      ZSTD_compress(out.data(), out.size(), text.data(), text.size(), kZstdLevel);
  PILLION_ASSERT(!ZSTD_isError(size));  // the room suffices by its own account
  out.resize(size);
  return out;
}

}  // namespace

std::string compressed(Coding coding, std::string_view text) {
  switch (coding) {
    case Coding::Gzip: return gzipped(text);
    case Coding::Zstd: return zstd_compressed(text);
    case Coding::None: break;
  }
  return std::string(text);
}

std::string_view name_of(Coding coding) {
  return coding == Coding::Gzip ? "gzip" : coding == Coding::Zstd ? "zstd" : "";
}

}  // namespace pillion
