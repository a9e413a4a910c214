// Metrics made of records, as statsd samples to a Unix datagram socket or over UDP: what
// pillion-metrics takes in. By Unix socket nothing is lost while the receiver is away or slow: the
// batch waits, and so does the place in the files. UDP is sent and forgotten.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "adapters/logs/output/output.h"
#include "adapters/logs/output/statsd_lines.h"
#include "config/logs.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::logs {

class StatsdOutput final : public Output {
 public:
  StatsdOutput(Loop& loop, const config::LogOutput& output, StatsdLines lines, OnDone on_done);

  std::string name() const override;
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return batch_.max_size.value; }
  std::size_t batch_records() const override { return batch_.max_records; }
  Duration batch_wait() const override { return batch_.max_wait; }
  std::size_t in_flight_bytes_max() const override { return 2 * batch_.max_size.value; }
  std::string trouble() const override { return trouble_; }
  std::vector<Stat> stats() const override;

 private:
  // Lines of a batch that are still to be sent, in datagrams.
  struct Waiting {
    Batch* batch;
    std::deque<std::string> datagrams;
  };
  void send_waiting();
  bool connect();
  void pause(Duration wait);
  std::size_t datagram_bytes() const;

  const config::StatsdLogOutput config_;
  const config::Batch batch_;
  const config::RetryBackoff retry_;
  StatsdLines lines_;
  OnDone on_done_;
  Fd socket_;
  std::deque<Waiting> waiting_;
  Timer again_;
  unsigned attempt_ = 0;
  std::string trouble_;
  std::uint64_t datagrams_ = 0;
};

}  // namespace pillion::logs
