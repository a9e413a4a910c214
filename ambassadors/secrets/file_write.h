// Writing one secret file so that nobody ever sees a part of it, a wrong mode or a wrong owner.
//
// Two steps, so that the files of one secret change together: prepare() makes a finished file under
// a hidden name in the same directory (created 0600 and exclusively; content, mode, owner, fsync in
// this order), commit() renames it over the target and syncs the directory. A PreparedFile that is
// not committed removes its file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::secrets {

struct FileTarget {
  std::string path;  // absolute
  std::uint32_t mode = 0400;
  std::optional<std::uint32_t> uid = std::nullopt;  // empty: whoever we run as
  std::optional<std::uint32_t> gid = std::nullopt;
};

// Which file is there: to notice that somebody replaced or removed what we wrote.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t changed_ns = 0;  // ctime: moves with mode and owner too
  std::int64_t modified_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

// Empty when there is no file, or none that we may look at.
std::optional<FileStamp> stamp_of(const std::string& path);

class PreparedFile {
 public:
  // Errors say what to do: missing directory, full volume, read-only mount, owner without
  // CAP_CHOWN.
  static Result<PreparedFile> prepare(const FileTarget& target, std::string_view content);
  PreparedFile(PreparedFile&& other) noexcept;
  PreparedFile& operator=(PreparedFile&&) = delete;
  PreparedFile(const PreparedFile&) = delete;
  PreparedFile& operator=(const PreparedFile&) = delete;
  ~PreparedFile();

  // The stamp of the file now at the target.
  Result<FileStamp> commit();

 private:
  PreparedFile() = default;
  Fd directory_;
  std::string directory_path_;
  std::string path_;
  std::string name_;       // in the directory
  std::string temporary_;  // in the directory; empty once committed or moved from
};

// Whether the target holds exactly these bytes with the wanted owner and mode; false also when we
// may not read it.
bool is_up_to_date(const FileTarget& target, std::string_view content);

// Removes what a crash between prepare() and commit() left beside `path`.
void remove_stale_temporaries(const std::string& path);

}  // namespace pillion::secrets
