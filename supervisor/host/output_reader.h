// Takes the bytes out of one pipe of a child: pipe → queue, from where a thread writes them to the
// log. Never waits. When the queue is full because the log is slower than the child, what comes is
// dropped record by record, counted and marked in the log; or, if the child's configuration says
// so, stays in the pipe, which then holds the child up.
//
// Whatever the moment at which the process is killed, the next reader of the same pipe and journal
// goes on where this one was: every byte that is kept is written once.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "supervisor/host/output_queue.h"

namespace pillion::supervisor::host {

// Sees each line once it is read: the console's echo, the log-line gate. After a restart of the
// supervisor, lines that were read and not written are seen again.
using LineObserver =
    std::function<void(OutputStream stream, std::string_view line, bool is_partial)>;

class OutputReader {
 public:
  enum class Step { Read, Empty, Full };

  // `pipe` is a non-blocking read end; pipe and observer outlive this.
  OutputReader(int pipe, std::shared_ptr<OutputQueue> queue, bool drops)
      : pipe_(pipe), queue_(std::move(queue)), drops_(drops) {}

  // Full: the rest of the pipe waits for the writer.
  Step read_some(std::uint64_t generation, const LineObserver& observer);
  // A last line without its newline ends here, if there is one.
  void finish(std::uint64_t generation, const LineObserver& observer);
  // What to do when the queue is full, from now on.
  void set_drops(bool drops) { drops_ = drops; }

  const std::shared_ptr<OutputQueue>& queue() const { return queue_; }

 private:
  Step drop_some(std::uint64_t generation, const LineObserver& observer);
  bool has_room_again() const { return queue_->room() >= queue_->capacity() / 4; }

  int pipe_;
  std::shared_ptr<OutputQueue> queue_;  // the writer may hold it longer
  bool drops_;
  bool is_dropping_ = false;
  bool is_inside_line_ = false;  // what was dropped last had no newline at its end
};

}  // namespace pillion::supervisor::host
