// Records to an Elasticsearch-compatible _bulk endpoint. Every record's own verdict counts: done,
// again, dead letter, or wait for a person (bulk_verdict.h). Nothing is given up because of time.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "adapters/logs/output/bulk_verdict.h"
#include "adapters/logs/output/dead_letter.h"
#include "adapters/logs/output/output.h"
#include "runtime/clock.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct ElasticsearchOptions {
  std::string url;  // without final slash
  std::string index;
  std::string operation = "create";
  bool has_own_id = false;
  std::string pipeline;
  std::string dead_letter_path;
  HttpClient::Tls tls;
  std::string user;  // with password_file; else one of the other two, or none
  std::string password_file;
  std::string api_key_file;
  std::string bearer_file;
  bool compresses = true;
  std::chrono::milliseconds timeout{30'000};
  std::chrono::milliseconds backoff_base{1'000};
  std::chrono::milliseconds backoff_max{60'000};
  std::size_t batch_bytes = 5u << 20;
  Duration batch_wait = std::chrono::seconds(1);
  std::size_t requests_max = 2;  // in flight
};

// What stands before each record: the action line; with own ids, its parts around the id.
void set_bulk_action(Envelope& envelope, const ElasticsearchOptions& options);

class ElasticsearchOutput final : public Output {
 public:
  ElasticsearchOutput(Loop& loop, const Clock& clock, ElasticsearchOptions options, OnDone on_done);
  ~ElasticsearchOutput() override;

  std::string name() const override { return "elasticsearch " + options_.index; }
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return options_.batch_bytes; }
  Duration batch_wait() const override { return options_.batch_wait; }
  std::size_t in_flight_bytes_max() const override { return 256u << 20; }
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
  void on_response(std::uint64_t id, Result<HttpClient::Response> response);
  void apply_items(Part part, const HttpClient::Response& response);
  void retry(Part part, const std::string& why, std::string_view retry_after = {});
  void halve(Part part, int status);
  bool bury(const Part& part, std::uint32_t record, int status, std::string_view error);
  void count_settled(Batch& batch, std::uint64_t delivered, std::uint64_t dropped);
  void report_trouble(const std::string& why);

  Loop& loop_;
  const Clock& clock_;
  ElasticsearchOptions options_;
  OnDone on_done_;
  HttpClient client_;
  DeadLetterFile dead_letters_;
  std::deque<Part> waiting_;
  std::map<std::uint64_t, Request> in_flight_;
  std::map<Batch*, std::size_t> unsettled_;  // records of each batch without a final verdict
  std::uint64_t next_id_ = 0;
  unsigned attempt_ = 0;  // failures in a row
  Timer backoff_;
  bool is_hurried_ = false;
  std::string trouble_;
  std::mt19937_64 random_;
  std::uint64_t requests_ = 0, retried_ = 0, buried_ = 0, bytes_sent_ = 0;
  std::shared_ptr<bool> is_alive_;  // told to compression that ends after us
};

}  // namespace pillion::logs
