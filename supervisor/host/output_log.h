// The output of one child on disk: records in the CRI log format, in a file that is rotated by
// rename. Never blocks and never fails its caller: what cannot be written is dropped and counted,
// and a marker tells how much, once writing works again.
//
//   2024-01-15T14:32:01.123456789Z stdout F:g3 the line
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/fd.h"

namespace pillion::supervisor::host {

enum class OutputStream { Stdout, Stderr };

// One record with its newline. `is_partial`: the line goes on in the next record.
std::string frame_record(WallTime time, OutputStream stream, bool is_partial,
                         std::uint64_t generation, std::string_view line);

struct OutputLogLimits {
  std::uint64_t file_bytes_max = 10u << 20;
  unsigned rotated_files = 5;
};

class OutputLog {
 public:
  // What is written in place of dropped records once writing works again; may be empty.
  using DropMarker = std::function<std::string(std::uint64_t dropped)>;

  OutputLog(std::string path, OutputLogLimits limits, DropMarker marker = mark_dropped_records);

  // A record of ours in the CRI format.
  static std::string mark_dropped_records(std::uint64_t dropped);

  void write(std::string_view record);
  std::uint64_t dropped_records() const { return dropped_total_; }

 private:
  bool open();
  void rotate();

  std::string path_;
  OutputLogLimits limits_;
  DropMarker marker_;
  Fd file_;
  std::uint64_t size_ = 0;
  std::uint64_t dropped_ = 0;  // since the last marker
  std::uint64_t dropped_total_ = 0;
};

// Cuts a byte stream into lines, a line longer than 16 KiB into parts.
class LineSplitter {
 public:
  using OnLine = std::function<void(std::string_view line, bool is_partial)>;
  static constexpr std::size_t kPartBytes = 16 * 1024;

  void feed(std::string_view bytes, const OnLine& on_line);
  // Gives out a last line without its newline, if there is one.
  void finish(const OnLine& on_line);

 private:
  std::string rest_;
};

}  // namespace pillion::supervisor::host
