// Records to our standard output, in order. A pipe or socket whose reader is slow never blocks the
// loop: what does not fit waits for it to be writable.
#pragma once

#include <deque>
#include <optional>

#include "adapters/logs/output/output.h"
#include "runtime/loop.h"

namespace pillion::logs {

class StdoutOutput final : public Output {
 public:
  // `is_pretty`: indented, for people.
  StdoutOutput(Loop& loop, int fd, bool is_pretty, OnDone on_done);

  std::string name() const override { return "stdout"; }
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return 256u << 10; }
  std::size_t in_flight_bytes_max() const override { return 2u << 20; }
  std::string trouble() const override { return trouble_; }

 private:
  void write_some();
  ssize_t write_once(std::string_view bytes);
  void finish_front();
  std::string_view front_bytes();

  Loop& loop_;
  int fd_;
  OnDone on_done_;
  bool is_regular_ = false;
  bool is_pretty_;
  std::string pretty_;  // the first batch, indented
  std::deque<Batch*> queue_;
  std::size_t written_ = 0;  // bytes of the first batch
  std::optional<Poll> poll_;
  bool is_polling_ = false;
  std::string trouble_;
};

}  // namespace pillion::logs
