// How far each file has been delivered, on disk: survives our own death and that of the machine.
//
// Text: a header line {"pillion_checkpoint":1,"entries":N,"crc32c":"…"}, then one JSON line per
// file, and one per input with what became of its records up to these positions; the checksum
// (CRC-32C) covers all lines after the header. Saved by temporary file, fsync,
// rename, fsync of the directory, with the file before it kept as PATH.prev. A checkpoint that
// cannot be read never stops anything: the one before is used, or files are read from their start.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/follow/ledger.h"
#include "runtime/result.h"

namespace pillion::logs {

// CRC-32C (Castagnoli), as in RFC 3720 §12.1.
std::uint32_t crc32c(std::string_view bytes);
// FNV-1a, 64 bits: for telling files apart, not against an adversary.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0xcbf29ce484222325u);

struct FileCheckpoint {
  std::string input;  // the path or pattern as configured
  std::string path;   // where the file was followed
  std::uint64_t device = 0;
  std::uint64_t inode = 0;        // 0: the path did not exist, since born_ns by the wall clock
  std::int64_t born_ns = 0;       // statx btime, 0 when the filesystem has none
  std::uint32_t head_length = 0;  // first bytes of the file, at most 1024, and their hash
  std::uint64_t head_hash = 0;
  std::uint32_t tail_length = 0;  // bytes before `offset`, at most 64, and their hash
  std::uint64_t tail_hash = 0;
  std::uint64_t offset = 0;       // everything before it is delivered or dropped
  std::uint64_t document_id = 0;  // prefix of document ids
  std::uint32_t epoch = 0;        // how often the file was truncated
  bool is_finished = false;       // rotated away and read to its end
  bool operator==(const FileCheckpoint&) const = default;
};

// How far a journal has been delivered.
struct JournalCheckpoint {
  std::string name;
  std::string cursor;
  bool operator==(const JournalCheckpoint&) const = default;
};

struct Checkpoint {
  std::vector<FileCheckpoint> files;
  std::string output;  // as people know it
  // Since the first checkpoint, all runs together; nothing is pending in it.
  std::vector<InputLedger> ledger;
  std::vector<JournalCheckpoint> journals = {};
  bool operator==(const Checkpoint&) const = default;
};

std::string render_checkpoint(const Checkpoint& checkpoint);
Result<Checkpoint> parse_checkpoint(std::string_view text);

// The newest readable state. `problems` gets a sentence for each file that could not be used; empty
// and no problem when there is none yet.
Checkpoint load_checkpoint(const std::string& path, std::vector<std::string>& problems);

// Blocks for the disk.
Result<void> save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

}  // namespace pillion::logs
