#include "adapters/logs/follow/compressed.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

namespace pillion::logs {
namespace {

constexpr std::size_t kChunkBytes = 256u << 10;
constexpr std::string_view kGzip = ".gz";
constexpr std::string_view kZstd = ".zst";

// Gets the content in pieces; false ends the reading early.
using OnPiece = std::function<Result<bool>(std::string_view piece)>;

Result<std::size_t> read_some(int fd, std::vector<char>& buffer, const std::string& path) {
  ssize_t count = 0;
  do {
    count = ::read(fd, buffer.data(), buffer.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) return fail_errno("cannot read " + path);
  return static_cast<std::size_t>(count);
}

// Several members may follow each other (RFC 1952 §2.2), as `cat a.gz b.gz` makes them.
Result<void> gunzip(int fd, const std::string& path, const OnPiece& on_piece) {
  z_stream stream{};
  PILLION_ASSERT(inflateInit2(&stream, 15 + 16) == Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> closer(&stream, inflateEnd);
  std::vector<char> in(kChunkBytes), out(kChunkBytes);
  bool is_at_end = true;  // between members
  for (;;) {
    const auto count = read_some(fd, in, path);
    if (!count) return fail(count.error());
    if (*count == 0) break;
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(*count);
    while (stream.avail_in > 0) {
      if (is_at_end && inflateReset(&stream) != Z_OK) return fail(path + " cannot be unpacked");
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      const int status = inflate(&stream, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        return fail(path + " is not gzip, or damaged");
      }
      is_at_end = status == Z_STREAM_END;
      const auto more = on_piece({out.data(), out.size() - stream.avail_out});
      if (!more) return fail(more.error());
      if (!*more) return {};
    }
  }
  if (!is_at_end) return fail(path + " lacks its end");
  return {};
}

Result<void> unzstd(int fd, const std::string& path, const OnPiece& on_piece) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(),
                                                                             ZSTD_freeDStream);
  std::vector<char> in(kChunkBytes), out(kChunkBytes);
  std::size_t missing = 0;  // 0: between frames
  for (;;) {
    const auto count = read_some(fd, in, path);
    if (!count) return fail(count.error());
    if (*count == 0) break;
    ZSTD_inBuffer from{in.data(), *count, 0};
    bool has_more = true;
    while (from.pos < from.size || has_more) {
      ZSTD_outBuffer to{out.data(), out.size(), 0};
      missing = ZSTD_decompressStream(stream.get(), &to, &from);
      if (ZSTD_isError(missing)) return fail(path + " is not zstd, or damaged");
      has_more = to.pos == to.size;
      const auto more = on_piece({out.data(), to.pos});
      if (!more) return fail(more.error());
      if (!*more) return {};
    }
  }
  if (missing != 0) return fail(path + " lacks its end");
  return {};
}

Result<void> decompress(const std::string& path, const OnPiece& on_piece) {
  const auto fd = open_file(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
  if (!fd) return fail(fd.error());
  return path.ends_with(kZstd) ? unzstd(fd->get(), path, on_piece)
                               : gunzip(fd->get(), path, on_piece);
}

}  // namespace

std::string_view without_compression_suffix(std::string_view name) {
  for (const std::string_view suffix : {kGzip, kZstd}) {
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  }
  return {};
}

Result<std::string> decompressed_head(const std::string& path, std::size_t bytes_max) {
  std::string head;
  const auto done = decompress(path, [&](std::string_view piece) -> Result<bool> {
    head += piece.substr(0, bytes_max - head.size());
    return head.size() < bytes_max;
  });
  if (!done) return fail(done.error());
  return head;
}

Result<Fd> decompress_to_temporary(const std::string& path, const std::string& directory) {
  Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("cannot create a temporary file in " + directory);
  const auto done = decompress(path, [&](std::string_view piece) -> Result<bool> {
    if (auto written = write_all(fd.get(), piece); !written) return fail(written.error());
    return true;
  });
  if (!done) return fail(done.error().wrap("unpacking"));
  return fd;
}

}  // namespace pillion::logs
