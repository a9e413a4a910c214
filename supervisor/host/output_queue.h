// What lies between the reader of one pipe of a child and the writer of its log: the journal, and
// for each stretch of it when it was read, by which generation, and how many records were dropped
// behind it because the ring was full. The reader is the supervisor's loop, the writer a thread of
// its own (output_writer.h): a disk that hangs holds up neither the loop nor a child.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "supervisor/host/output_journal.h"
#include "supervisor/host/output_log.h"

namespace pillion::supervisor::host {

class OutputQueue {
 public:
  // Settles what an earlier supervisor had begun. The log is one writer's and may serve several
  // queues, all of which are made before the first of them is written.
  OutputQueue(OutputStream kind, OutputJournal journal, std::shared_ptr<OutputLog> log);
  ~OutputQueue() { log_->stop_keeping_drops_in(journal_.kept_drops()); }
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  OutputStream kind() const { return kind_; }
  OutputLog& log() { return *log_; }
  int file() const { return journal_.file(); }
  std::atomic<std::uint64_t>* kept_drops() { return journal_.kept_drops(); }

  // The reader's side.

  // What an earlier supervisor had read and not written counts as read now.
  void begin(std::uint64_t generation);
  // Takes what is in the pipe; 0 when it was empty or the ring is full.
  std::size_t fill(int pipe, std::uint64_t generation);
  std::size_t append(std::string_view bytes, std::uint64_t generation);
  // Ends a line that has no newline; false when there is none.
  bool end_line(std::uint64_t generation);
  // Counts records that follow what is in the ring now, and will never be in it.
  void note_dropped(std::uint64_t records);
  // Bytes that still fit.
  std::uint64_t room() const;
  std::uint64_t capacity() const { return journal_.capacity(); }
  std::uint64_t dropped_records() const { return dropped_total_; }
  // What was read and never looked at by this function, in whole lines or their parts.
  template<class Observer>
  void observe(const Observer& observer);

  // The writer's side: frames and writes one batch of whole lines. False when there is none.
  bool write_some();
  // Bytes of whole lines that wait for the writer, and drops that wait to be marked.
  bool has_work() const;
  std::uint64_t waiting_bytes() const;

 private:
  struct Stretch {
    std::uint64_t end = 0;
    WallTime time{};
    std::uint64_t generation = 0;
    std::uint64_t dropped = 0;  // behind it
  };
  struct Batch {
    std::string records;
    unsigned count = 0;
    std::size_t consumed = 0;
    std::uint64_t marked = 0;
  };

  void extend(std::uint64_t generation);
  Batch take_batch();
  void write_batch(const Batch& batch);

  OutputStream kind_;
  OutputJournal journal_;
  std::shared_ptr<OutputLog> log_;
  mutable std::mutex mutex_;  // of the ring's ends and of the stretches, never held over a write
  std::deque<Stretch> stretches_;
  std::uint64_t observed_ = 0;
  std::atomic<std::uint64_t> dropped_total_{0};
};

template<class Observer>
void OutputQueue::observe(const Observer& observer) {
  const std::lock_guard lock(mutex_);
  // The writer cuts lines as this does, so that it is never ahead.
  std::string_view rest = journal_.bytes(std::max(observed_, journal_.head()));
  while (const auto line = first_line(rest)) {
    if (observer) observer(kind_, line->text, line->is_partial);
    rest.remove_prefix(line->consumed);
  }
  observed_ = journal_.tail() - rest.size();
}

}  // namespace pillion::supervisor::host
