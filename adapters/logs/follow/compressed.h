// Rotated files that somebody has compressed (NAME.1.gz, NAME-20240115.zst): gzip (RFC 1952) and
// zstd (RFC 8878), by their names' ends.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::logs {

// "orders.log.1" of "orders.log.1.gz"; empty when the name is of no compressed file.
std::string_view without_compression_suffix(std::string_view name);

// The first bytes of the content, at most `bytes_max`. Blocks for the disk.
Result<std::string> decompressed_head(const std::string& path, std::size_t bytes_max);

// The whole content in a file without name in `directory`, gone when it is closed. An error also
// when the end is missing: the file is being written, or is damaged. Blocks for the disk.
Result<Fd> decompress_to_temporary(const std::string& path, const std::string& directory);

}  // namespace pillion::logs
