// The pipes behind a child's stdout and stderr, 1 MiB each. One pair per child for the life of the
// service, both ends held by the keeper: neither a restart of the child nor of the supervisor loses
// a byte. The supervisor is the only reader.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "runtime/fd.h"
#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/output_log.h"

namespace pillion::supervisor::host {

// Sees each line after it was written to the log: the console's echo, the log-line gate.
using LineObserver =
    std::function<void(OutputStream stream, std::string_view line, bool is_partial)>;

class OutputCapture {
 public:
  // Creates the pipes, or takes them over from the keeper. `log` must outlive it; `child` is what
  // the keeper knows them by.
  static Result<std::unique_ptr<OutputCapture>> create(Loop& loop, KeeperClient& keeper,
                                                       const std::string& child, OutputLog& log,
                                                       LineObserver observer);

  // Ends for the child; borrowed.
  int standard_output() const { return streams_[0].write_end.get(); }
  int standard_error() const { return streams_[1].write_end.get(); }

  // Later records carry this generation.
  void set_generation(std::uint64_t generation) { generation_ = generation; }
  // Reads everything that is in the pipes now: after an exit, before the next generation.
  void drain();
  // Takes the pipes back from the keeper: the service ends.
  void remove();

 private:
  struct Stream {
    OutputStream kind = OutputStream::Stdout;
    Fd read_end;
    Fd write_end;
    LineSplitter splitter;
    std::unique_ptr<Poll> poll;
  };

  OutputCapture(KeeperClient& keeper, std::string child, OutputLog& log, LineObserver observer);
  Result<void> open(Loop& loop, Stream& stream);
  std::string stored_name(const Stream& stream, const char* end) const;
  // False when the pipe is empty.
  bool read_some(Stream& stream);
  void write_line(Stream& stream, std::string_view line, bool is_partial);

  KeeperClient& keeper_;
  std::string child_;
  OutputLog& log_;
  LineObserver observer_;
  std::uint64_t generation_ = 0;
  std::array<Stream, 2> streams_;
};

}  // namespace pillion::supervisor::host
