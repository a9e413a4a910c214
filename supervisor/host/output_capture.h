// The pipes behind a child's stdout and stderr, 1 MiB each. One pair per child for the life of the
// service, both ends held by the keeper, and with each pipe the journal of what was read from it:
// neither a restart of the child nor of the supervisor loses a byte. The supervisor is the only
// reader. It takes what comes at once, whatever the log's disk does; what a full buffer cannot hold
// is dropped, counted and marked, unless the child's configuration prefers that it waits.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/child.h"
#include "runtime/fd.h"
#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/output_log.h"
#include "supervisor/host/output_reader.h"
#include "supervisor/host/output_writer.h"

namespace pillion::supervisor::host {

class OutputCapture {
 public:
  // Creates the pipes, or takes them over from the keeper. `on_trouble` is told once when the log
  // refuses records or cannot keep up, and once when it can again.
  // Nothing is read within this call, so that the generation can be told first. `child` is what the
  // keeper knows them by.
  static Result<std::unique_ptr<OutputCapture>> create(
      Loop& loop, KeeperClient& keeper, OutputWriter& writer, const std::string& child,
      std::shared_ptr<OutputLog> log, const config::OutputLog& settings, LineObserver observer,
      std::function<void(const std::string& text)> on_trouble);

  ~OutputCapture();

  // Ends for the child; borrowed.
  int standard_output() const { return streams_[0].write_end.get(); }
  int standard_error() const { return streams_[1].write_end.get(); }

  // Later records carry this generation.
  void set_generation(std::uint64_t generation) { generation_ = generation; }
  void set_when_full(config::WhenFull when_full);
  // Reads everything that is in the pipes now: after an exit, before the next generation. It is in
  // the log when this returns, unless the disk is slow.
  void drain();
  // The writer came further, or its disk says something else.
  void on_progress();
  // Takes the pipes back from the keeper: the service ends. Waits until the log is written, at most
  // `patience`.
  void remove(Duration patience);
  // Records that found the buffer full, since the supervisor started.
  std::uint64_t late_records() const;

 private:
  struct Stream {
    OutputStream kind = OutputStream::Stdout;
    Fd read_end;
    Fd write_end;
    std::optional<OutputReader> reader;
    std::unique_ptr<Poll> poll;
    bool is_paused = false;
  };

  OutputCapture(Loop& loop, KeeperClient& keeper, OutputWriter& writer, std::string child,
                std::shared_ptr<OutputLog> log, const config::OutputLog& settings,
                LineObserver observer, std::function<void(const std::string&)> on_trouble);
  Result<void> open(Loop& loop, Stream& stream);
  Result<OutputJournal> open_journal(const Stream& stream);
  std::string stored_name(const Stream& stream, const char* end) const;
  void begin();
  // False when the pipe is empty, or its bytes have to stay there.
  bool read_some(Stream& stream);
  void read_many(Stream& stream);
  bool flush(Duration patience);
  void look_at_log();

  KeeperClient& keeper_;
  OutputWriter& writer_;
  std::string child_;
  std::shared_ptr<OutputLog> log_;  // the writer may hold it longer
  config::OutputLog settings_;
  LineObserver observer_;
  std::function<void(const std::string&)> on_trouble_;
  bool is_refused_ = false;
  std::uint64_t late_told_ = 0;
  std::optional<MonotonicTime> late_told_at_;
  std::uint64_t generation_ = 0;
  std::array<Stream, 2> streams_;
  Timer first_read_;
};

}  // namespace pillion::supervisor::host
