// Takes out of records what the secrets ambassador has issued, wherever in a record it stands.
// Knows the secrets only by their fingerprints (runtime/fingerprints.h).
//
// The files are looked at again before each batch is handed over: pillion-secrets writes them
// before it gives a secret to the app, so whatever the app could log is known by then.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/state.h"
#include "adapters/logs/follow/followed_file.h"
#include "runtime/fingerprints.h"
#include "runtime/result.h"

namespace pillion::logs {

class IssuedRedaction {
 public:
  // Files, and directories of which every file counts.
  explicit IssuedRedaction(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  // Reads what has changed since the last call; costs a stat or two when nothing has. A file that
  // is not there yet holds nothing; of one that cannot be read, what it held before stays.
  Result<void> refresh();

  // Replaces in records what is known; returns how many records it changed.
  std::size_t apply(RecordBuffer& records);

 private:
  struct Source {
    std::string path;
    FileFacts facts;
    FingerprintSearch search;
  };

  Result<void> refresh_file(const std::string& path);
  bool is_in(std::string_view text) const;
  bool has_secret(std::string_view record, std::string& scratch) const;
  bool redact(std::string& text) const;
  void put_value(std::string_view value, std::string& out);
  void put_token(std::string_view string, std::string& out);

  std::vector<std::string> paths_;
  std::vector<Source> sources_;
  std::string out_, scratch_;
};

}  // namespace pillion::logs
