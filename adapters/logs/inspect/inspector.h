// Says of single lines how an encoder reads them, and why it does not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/encoder.h"

namespace pillion::logs {

// Why one format did not fit.
struct Attempt {
  Format format;
  std::string reason;
};

struct LineVerdict {
  Format format = Format::Raw;  // the one that the line was read by
  // False for a line that is not of its format, and for one that no format of `auto` fits.
  bool is_parsed = true;
  std::string reason;             // why not; empty when parsed
  std::vector<Attempt> attempts;  // of `auto` with no format that fits: what was tried
  std::string record;  // one JSON object; empty for an empty line and a part of a CRI line
};

class Inspector {
 public:
  // `judges_each` keeps `auto` from settling on one format after its first lines. A bulk action
  // before records must not be set in the options.
  Inspector(EncoderOptions options, bool judges_each);

  // The time that lines without one get.
  void set_observed_time(std::int64_t unix_nanoseconds);
  // `line` without its newline, or the lines of a record; longer than the limit it is cut.
  LineVerdict inspect(std::string_view line);
  // `auto` with no format that fits: tries the formats that the line may have been meant to be.
  std::vector<Attempt> attempts_at(std::string_view line) const;

  const EncoderOptions& options() const { return options_; }

 private:
  EncoderOptions options_;
  Encoder encoder_;
  std::int64_t observed_ = 0;
  RecordBuffer buffer_;
  std::string padded_;
};

}  // namespace pillion::logs
