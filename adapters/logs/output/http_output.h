// Batches over HTTP to whatever an HttpDialect speaks. Nothing is given up because of time: what is
// refused for a reason that passes is sent again, what is refused for good becomes a dead letter,
// and a request that one record spoils is halved until the record stands alone.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "adapters/logs/output/dead_letter.h"
#include "adapters/logs/output/http_dialect.h"
#include "adapters/logs/output/output.h"
#include "runtime/clock.h"
#include "runtime/compression.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct HttpOutputOptions {
  std::string dead_letter_path;
  HttpClient::Tls tls;
  std::string user;  // with password_file; else one of the other two, or none
  std::string password_file;
  std::string api_key_file;
  std::string bearer_file;
  Coding coding = Coding::Gzip;
  std::chrono::milliseconds timeout{30'000};
  std::chrono::milliseconds backoff_base{1'000};
  std::chrono::milliseconds backoff_max{60'000};
  std::size_t batch_bytes = 5u << 20;
  std::size_t batch_records = SIZE_MAX;
  Duration batch_wait = std::chrono::seconds(1);
  std::size_t requests_max = 2;  // in flight
};

class HttpOutput final : public Output {
 public:
  HttpOutput(Loop& loop, const Clock& clock, HttpOutputOptions options,
             std::unique_ptr<HttpDialect> dialect, OnDone on_done);
  ~HttpOutput() override;

  std::string name() const override { return dialect_->name(); }
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return options_.batch_bytes; }
  std::size_t batch_records() const override { return options_.batch_records; }
  Duration batch_wait() const override { return options_.batch_wait; }
  // The requests in flight, and as many batches ready behind them: the files are the queue. Room
  // grows by doubling, hence twice.
  std::size_t in_flight_bytes_max() const override {
    return std::max<std::size_t>(4 * options_.requests_max * options_.batch_bytes, 1u << 20);
  }
  Result<void> sync() override { return dead_letters_.sync(); }
  void hurry() override;
  std::string trouble() const override { return trouble_; }
  std::vector<Stat> stats() const override;

 private:
  // Records of one batch that go in one request.
  struct Part {
    Batch* batch = nullptr;
    std::vector<std::uint32_t> records;
  };
  struct Request {
    Part part;
    HttpClient::Exchange exchange;
  };

  void send_waiting();
  void start(Part part);
  void send(std::uint64_t id, std::string body);
  Result<HttpClient::Headers> headers() const;
  Result<HttpClient::Request> request_of(const Part& part, std::string body) const;
  std::string_view record_of(const Part& part, std::uint32_t record) const;
  bool heal(const Part& part, std::uint32_t record);
  void on_response(std::uint64_t id, Result<HttpClient::Response> response);
  void apply_items(Part part, const std::vector<ItemVerdict>& items);
  void retry(Part part, const std::string& why, std::string_view retry_after = {});
  void halve(Part part, const HttpClient::Response& response);
  bool bury(const Part& part, std::uint32_t record, int status, std::string_view error);
  void count_settled(Batch& batch, std::size_t records);
  void report_trouble(const std::string& why);

  Loop& loop_;
  const Clock& clock_;
  HttpOutputOptions options_;
  std::shared_ptr<const HttpDialect> dialect_;  // shared with work on the pool
  OnDone on_done_;
  HttpClient client_;
  DeadLetterFile dead_letters_;
  std::deque<Part> waiting_;
  std::map<std::uint64_t, Request> in_flight_;
  std::map<Batch*, std::size_t> unsettled_;  // records of each batch without a final verdict
  // Records in another form than the batch has them, see HttpDialect::healed().
  std::map<Batch*, std::map<std::uint32_t, std::string>> healed_;
  std::uint64_t next_id_ = 0;
  unsigned attempt_ = 0;  // failures in a row
  Timer backoff_;
  bool is_hurried_ = false;
  std::string trouble_;
  std::mt19937_64 random_;
  std::uint64_t requests_ = 0, retried_ = 0, buried_ = 0, bytes_sent_ = 0, healed_count_ = 0;
  std::shared_ptr<bool> is_alive_;  // told to work on the pool that ends after us
};

}  // namespace pillion::logs
