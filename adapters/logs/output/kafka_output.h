// Records to Apache Kafka, by librdkafka's idempotent producer: every record has its own delivery
// report, so at least once, and within one run of this program once and in order per partition.
//
// What the brokers refuse for good (too large, invalid) becomes a dead letter; what was not
// acknowledged in time, or was in flight at a fatal error of the producer, is produced once more. A
// batch's memory is the library's until its last report. The library has threads of its own;
// reports reach us on the loop, by an eventfd.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/logs/output/dead_letter.h"
#include "adapters/logs/output/kafka_library.h"
#include "adapters/logs/output/output.h"
#include "adapters/logs/output/record_template.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct KafkaOptions {
  std::string brokers;  // "a:9092,b:9092"
  RecordTemplate topic;
  RecordTemplate key;
  bool has_key = false;
  // Of librdkafka, in the order they are set; the later ones win.
  std::vector<std::pair<std::string, std::string>> settings;
  std::string password_file;  // of SASL; read anew for each producer; empty = no SASL
  std::string dead_letter_path;
  std::chrono::milliseconds backoff{1'000};
  std::size_t batch_bytes = 5u << 20;
  std::size_t batch_records = SIZE_MAX;
  Duration batch_wait = std::chrono::seconds(1);
};

// What of the settings librdkafka does not take, or that it cannot be loaded.
Result<void> check_kafka(const KafkaOptions& options);

class KafkaOutput final : public Output {
 public:
  KafkaOutput(Loop& loop, const Clock& clock, KafkaOptions options, OnDone on_done);
  ~KafkaOutput() override;

  std::string name() const override { return "kafka " + options_.brokers; }
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return options_.batch_bytes; }
  std::size_t batch_records() const override { return options_.batch_records; }
  Duration batch_wait() const override { return options_.batch_wait; }
  std::size_t in_flight_bytes_max() const override { return 256u << 20; }
  Result<void> sync() override { return dead_letters_.sync(); }
  void hurry() override;
  std::string trouble() const override { return trouble_; }
  std::vector<Stat> stats() const override;

 private:
  // One record; its address is what the library hands back.
  struct Item {
    Batch* batch = nullptr;
    std::uint32_t record = 0;
  };

  Result<void> open();
  void close();
  void produce_waiting();
  bool produce(Item* item);
  rd_kafka_resp_err_t hand_to_library(Item* item);
  void on_report(const rd_kafka_message_t& message);
  void on_error(rd_kafka_resp_err_t error, const char* reason);
  void poll_reports();
  bool bury(const Item& item, rd_kafka_resp_err_t error);
  void settle(Item* item);
  void pause(const std::string& why);

  Loop& loop_;
  const Clock& clock_;
  KafkaOptions options_;
  OnDone on_done_;
  const KafkaLibrary* library_ = nullptr;
  rd_kafka_t* producer_ = nullptr;
  Fd event_;
  std::optional<Poll> event_poll_;
  DeadLetterFile dead_letters_;
  std::deque<Item*> waiting_;
  struct Unsettled {
    std::vector<Item> items;
    std::size_t left = 0;  // without a final verdict
  };
  std::map<Batch*, Unsettled> unsettled_;
  std::vector<Batch*> done_;  // settled in this round of reports
  Timer again_;
  bool is_hurried_ = false;
  bool needs_new_producer_ = false;
  std::string trouble_;
  std::uint64_t produced_ = 0, repeated_ = 0, buried_ = 0;
};

}  // namespace pillion::logs
