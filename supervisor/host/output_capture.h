// The pipes behind a child's stdout and stderr, 1 MiB each. One pair per child for the life of the
// service, both ends held by the keeper, and with each pipe the journal of what was read from it:
// neither a restart of the child nor of the supervisor loses a byte. The supervisor is the only
// reader. A child that writes faster than its log can take is slowed down by its pipe; one whose
// log cannot be written at all is not: its records are dropped, counted and marked.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/fd.h"
#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/output_log.h"
#include "supervisor/host/output_reader.h"

namespace pillion::supervisor::host {

class OutputCapture {
 public:
  // Creates the pipes, or takes them over from the keeper. `on_trouble` is told once when the log
  // refuses records, and once when it takes them again.
  // Nothing is read within this call, so that the generation can be told first. `log` must
  // outlive it; `child` is what the keeper knows them by.
  static Result<std::unique_ptr<OutputCapture>> create(
      Loop& loop, KeeperClient& keeper, const std::string& child, OutputLog& log,
      LineObserver observer, std::function<void(const std::string& text)> on_trouble);

  ~OutputCapture();

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
    std::optional<OutputReader> reader;
    std::unique_ptr<Poll> poll;
  };

  OutputCapture(Loop& loop, KeeperClient& keeper, std::string child, OutputLog& log,
                LineObserver observer, std::function<void(const std::string&)> on_trouble);
  Result<void> open(Loop& loop, Stream& stream);
  Result<OutputJournal> open_journal(const Stream& stream);
  std::string stored_name(const Stream& stream, const char* end) const;
  bool read_some(Stream& stream);
  void look_at_log();

  KeeperClient& keeper_;
  std::string child_;
  OutputLog& log_;
  LineObserver observer_;
  std::function<void(const std::string&)> on_trouble_;
  bool is_refused_ = false;
  std::uint64_t generation_ = 0;
  std::array<Stream, 2> streams_;
  Timer first_read_;
};

}  // namespace pillion::supervisor::host
