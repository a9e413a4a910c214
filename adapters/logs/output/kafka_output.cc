#include "adapters/logs/output/kafka_output.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/json_text.h"
#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr Duration kHurriedPause = std::chrono::milliseconds(100);
constexpr Duration kQueueFullPause = std::chrono::milliseconds(5);
// What the library holds is bounded by our own budget of records in flight.
constexpr const char* kQueueRecordsMax = "10000000";
constexpr const char* kQueueKibibytesMax = "1048576";

// A refusal that no repetition changes.
bool is_final(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION: return true;
    default: return false;
  }
}

// The library's own lines, of which the errors reach us by reports as well.
void log_line(const rd_kafka_t*, int level, const char*, const char* text) {
  if (level <= 4) {
    log::warn("librdkafka: {}", text);
  } else {
    log::debug("librdkafka: {}", text);
  }
}

Result<std::string> read_password(const std::string& path) {
  auto text = read_file(path, 64u << 10);
  if (!text) return text;
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  return text;
}

// Null and the error's words when a setting is refused.
Result<rd_kafka_conf_t*> make_settings(const KafkaLibrary& library, const KafkaOptions& options) {
  rd_kafka_conf_t* const conf = library.conf_new();
  char why[512];
  const auto set = [&](const std::string& name, const std::string& value) -> Result<void> {
    if (library.conf_set(conf, name.c_str(), value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK) {
      return fail("kafka: " + std::string(why));
    }
    return {};
  };
  Result<void> done = set("bootstrap.servers", options.brokers);
  if (done) done = set("enable.idempotence", "true");
  if (done) done = set("queue.buffering.max.messages", kQueueRecordsMax);
  if (done) done = set("queue.buffering.max.kbytes", kQueueKibibytesMax);
  if (done && !options.password_file.empty()) {
    auto password = read_password(options.password_file);
    done = password ? set("sasl.password", *password) : fail(password.error());
  }
  for (const auto& [name, value] : options.settings) {
    if (done) done = set(name, value);
  }
  if (done) return conf;
  library.conf_destroy(conf);
  return fail(done.error());
}

}  // namespace

Result<void> check_kafka(const KafkaOptions& options) {
  const auto library = KafkaLibrary::load();
  if (!library) return fail(library.error());
  auto settings = make_settings(**library, options);
  if (!settings) return fail(settings.error());
  (*library)->conf_destroy(*settings);
  return {};
}

KafkaOutput::KafkaOutput(Loop& loop, const Clock& clock, KafkaOptions options, OnDone on_done)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      on_done_(std::move(on_done)),
      dead_letters_(options_.dead_letter_path),
      again_(loop) {}

KafkaOutput::~KafkaOutput() { close(); }

Result<void> KafkaOutput::open() {
  const auto library = KafkaLibrary::load();
  if (!library) return fail(library.error());
  library_ = *library;
  auto settings = make_settings(*library_, options_);
  if (!settings) return fail(settings.error());
  library_->conf_set_opaque(*settings, this);
  library_->conf_set_dr_msg_cb(*settings,
                               [](rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
                                 static_cast<KafkaOutput*>(self)->on_report(*message);
                               });
  library_->conf_set_error_cb(
      *settings, [](rd_kafka_t*, int error, const char* reason, void* self) {
        static_cast<KafkaOutput*>(self)->on_error(static_cast<rd_kafka_resp_err_t>(error), reason);
      });
  library_->conf_set_log_cb(*settings, log_line);
  char why[512];
  producer_ = library_->create(RD_KAFKA_PRODUCER, *settings, why, sizeof why);
  if (producer_ == nullptr) {
    library_->conf_destroy(*settings);
    return fail("kafka: " + std::string(why));
  }
  event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_) return fail_errno("cannot create an eventfd");
  static constexpr std::uint64_t kOne = 1;
  rd_kafka_queue_t* const queue = library_->queue_get_main(producer_);
  library_->queue_io_event_enable(queue, event_.get(), &kOne, sizeof kOne);
  library_->queue_destroy(queue);
  event_poll_.emplace(loop_, event_.get());
  event_poll_->start(kReadable, [this](int, int) { poll_reports(); });
  return {};
}

// Takes everything back from the library: no report is lost, those in flight count as failed.
void KafkaOutput::close() {
  if (producer_ == nullptr) return;
  event_poll_.reset();
  library_->purge(producer_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  while (library_->poll(producer_, 0) > 0) {
  }
  library_->destroy(producer_);
  producer_ = nullptr;
  event_.reset();
}

void KafkaOutput::deliver(Batch& batch) {
  const auto count = static_cast<std::uint32_t>(batch.records.record_count());
  Unsettled& unsettled = unsettled_[&batch];
  unsettled.left = count;
  unsettled.items.reserve(count);  // their addresses must last
  for (std::uint32_t record = 0; record < count; ++record) {
    unsettled.items.push_back({&batch, record});
    waiting_.push_back(&unsettled.items.back());
  }
  if (!again_.is_active()) again_.start(Duration::zero(), [this] { produce_waiting(); });
}

void KafkaOutput::produce_waiting() {
  if (needs_new_producer_) {
    needs_new_producer_ = false;
    close();
  }
  if (producer_ == nullptr) {
    if (auto opened = open(); !opened) return pause(opened.error().message());
  }
  while (!waiting_.empty()) {
    if (!produce(waiting_.front())) break;
    waiting_.pop_front();
  }
  poll_reports();
}

rd_kafka_resp_err_t KafkaOutput::hand_to_library(Item* item) {
  const std::string_view record = item->batch->records.record(item->record);
  const std::string topic = options_.topic.render(record, "");
  const std::string key = options_.has_key ? options_.key.render(record, "") : std::string();
  rd_kafka_vu_t parts[4] = {};
  parts[0].vtype = RD_KAFKA_VTYPE_TOPIC;
  parts[0].u.cstr = topic.c_str();
  parts[1].vtype = RD_KAFKA_VTYPE_VALUE;  // not copied: the batch stays until the report
  parts[1].u.mem.ptr = const_cast<char*>(record.data());
  parts[1].u.mem.size = record.size() - 1;  // without its newline
  parts[2].vtype = RD_KAFKA_VTYPE_OPAQUE;
  parts[2].u.ptr = item;
  parts[3].vtype = RD_KAFKA_VTYPE_KEY;
  parts[3].u.mem.ptr = const_cast<char*>(key.data());
  parts[3].u.mem.size = key.size();
  rd_kafka_error_t* const error = library_->produceva(producer_, parts, options_.has_key ? 4 : 3);
  if (error == nullptr) return RD_KAFKA_RESP_ERR_NO_ERROR;
  const rd_kafka_resp_err_t code = library_->error_code(error);
  library_->error_destroy(error);
  return code;
}

// False when the library takes no more now. A record that it refuses by itself is settled here.
bool KafkaOutput::produce(Item* item) {
  const rd_kafka_resp_err_t error = hand_to_library(item);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++produced_;
    return true;
  }
  if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    again_.start(kQueueFullPause, [this] { produce_waiting(); });
    return false;
  }
  if (is_final(error) && bury(*item, error)) {
    settle(item);
    return true;
  }
  if (error == RD_KAFKA_RESP_ERR__FATAL) needs_new_producer_ = true;
  pause(library_->err2str(error));
  return false;
}

void KafkaOutput::poll_reports() {
  std::uint64_t count = 0;
  static_cast<void>(!::read(event_.get(), &count, sizeof count));
  while (producer_ != nullptr && library_->poll(producer_, 0) > 0) {
  }
  for (Batch* const batch : std::exchange(done_, {})) on_done_(*batch);
  if (needs_new_producer_ && !again_.is_active()) {
    again_.start(options_.backoff, [this] { produce_waiting(); });
  }
}

void KafkaOutput::on_report(const rd_kafka_message_t& message) {
  Item* const item = static_cast<Item*>(message._private);
  if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    trouble_.clear();
    return settle(item);
  }
  if (is_final(message.err) && bury(*item, message.err)) return settle(item);
  ++repeated_;
  waiting_.push_back(item);
  const bool is_our_doing = message.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                            message.err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
  if (!is_our_doing) pause(library_->err2str(message.err));
}

void KafkaOutput::on_error(rd_kafka_resp_err_t error, const char* reason) {
  char why[512] = "";
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    library_->fatal_error(producer_, why, sizeof why);
    needs_new_producer_ = true;
    reason = why;
  }
  if (trouble_ != reason) log::warn("{}: {}", name(), reason);
  trouble_ = reason;
}

bool KafkaOutput::bury(const Item& item, rd_kafka_resp_err_t error) {
  std::string why;
  append_json_string(why, library_->err2str(error));
  const std::string_view record = item.batch->records.record(item.record);
  const auto written =
      dead_letters_.append(options_.topic.render(record, ""), static_cast<int>(error), why, record,
                           clock_.wall_now().time_since_epoch().count());
  if (!written) {
    log::error("{}", written.error().message());
    return false;
  }
  item.batch->dropped.push_back(item.record);
  if (buried_++ == 0) {
    log::warn("{}: a record was refused for good ({}); such records go to {}", name(), why,
              dead_letters_.path());
  }
  return true;
}

void KafkaOutput::settle(Item* item) {
  Batch* const batch = item->batch;
  if (--unsettled_[batch].left > 0) return;
  unsettled_.erase(batch);
  done_.push_back(batch);  // told when the library has returned
}

void KafkaOutput::pause(const std::string& why) {
  if (trouble_ != why) log::warn("{}: {}; trying again", name(), why);
  trouble_ = why;
  if (again_.is_active()) return;
  const Duration delay = is_hurried_ ? kHurriedPause : Duration(options_.backoff);
  again_.start(delay, [this] { produce_waiting(); });
}

void KafkaOutput::hurry() {
  is_hurried_ = true;
  if (again_.is_active()) again_.start(Duration::zero(), [this] { produce_waiting(); });
}

std::vector<Output::Stat> KafkaOutput::stats() const {
  return {{"pillion_logs_kafka_produced_total", "Records handed to the library.", produced_},
          {"pillion_logs_retried_records_total", "Records sent again.", repeated_},
          {"pillion_logs_dead_letters_total", "Records refused for good, in the dead letter file.",
           buried_}};
}

}  // namespace pillion::logs
