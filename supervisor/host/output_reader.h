// One pipe of a child, read into its log: pipe → journal → records in the log. Whatever the moment
// at which the process is killed, the next reader of the same pipe, journal and log goes on where
// this one was: every byte is written once.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "supervisor/host/output_journal.h"
#include "supervisor/host/output_log.h"

namespace pillion::supervisor::host {

// Sees each line after it was written to the log: the console's echo, the log-line gate.
using LineObserver =
    std::function<void(OutputStream stream, std::string_view line, bool is_partial)>;

class OutputReader {
 public:
  // Settles what an earlier reader had begun. `pipe` is a non-blocking read end; pipe, log and
  // observer outlive this. The log is one thread's and may serve several readers, all of which are
  // made before the first of them reads.
  OutputReader(OutputStream kind, int pipe, OutputJournal journal, OutputLog& log);

  // False when the pipe was empty.
  bool read_some(std::uint64_t generation, const LineObserver& observer);
  // Writes a last line without its newline, if there is one.
  void finish(std::uint64_t generation, const LineObserver& observer);

  OutputJournal& journal() { return journal_; }

 private:
  void write_lines(std::uint64_t generation, const LineObserver& observer, bool is_end);
  void write_batch(std::string_view batch, unsigned records, std::size_t consumed);

  OutputStream kind_;
  int pipe_;
  OutputJournal journal_;
  OutputLog& log_;
};

}  // namespace pillion::supervisor::host
