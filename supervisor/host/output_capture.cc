#include "supervisor/host/output_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include <fmt/format.h>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr int kPipeBytes = 1 << 20;
constexpr int kReadsPerRound = 16;     // of up to 64 KiB; then others have their turn
constexpr int kReadsPerDrainMax = 64;  // an orphan may write for ever
constexpr auto kDrainPatience = std::chrono::milliseconds(100);
constexpr auto kLateReportPeriod = std::chrono::minutes(1);

}  // namespace

OutputCapture::OutputCapture(Loop& loop, KeeperClient& keeper, OutputWriter& writer,
                             std::string child, std::shared_ptr<OutputLog> log,
                             const config::OutputLog& settings, LineObserver observer,
                             std::function<void(const std::string&)> on_trouble)
    : keeper_(keeper),
      writer_(writer),
      child_(std::move(child)),
      log_(std::move(log)),
      settings_(settings),
      observer_(std::move(observer)),
      on_trouble_(std::move(on_trouble)),
      first_read_(loop) {
  streams_[1].kind = OutputStream::Stderr;
}

Result<std::unique_ptr<OutputCapture>> OutputCapture::create(
    Loop& loop, KeeperClient& keeper, OutputWriter& writer, const std::string& child,
    std::shared_ptr<OutputLog> log, const config::OutputLog& settings, LineObserver observer,
    std::function<void(const std::string&)> on_trouble) {
  std::unique_ptr<OutputCapture> capture(
      new OutputCapture(loop, keeper, writer, child, std::move(log), settings, std::move(observer),
                        std::move(on_trouble)));
  for (Stream& stream : capture->streams_) {
    if (auto opened = capture->open(loop, stream); !opened) {
      return fail(opened.error().wrap("cannot capture the output of " + child));
    }
  }
  capture->log_->keep_drops_in(capture->streams_[0].reader->queue()->kept_drops());
  // An earlier supervisor may have taken something out of the pipe that is not in the log.
  capture->first_read_.start(Duration::zero(), [capture = capture.get()] { capture->begin(); });
  return capture;
}

OutputCapture::~OutputCapture() {
  for (Stream& stream : streams_) {
    if (stream.reader) writer_.remove(stream.reader->queue());
  }
}

std::string OutputCapture::stored_name(const Stream& stream, const char* end) const {
  return "pipe:" + child_ + (stream.kind == OutputStream::Stdout ? ":out:" : ":err:") + end;
}

Result<void> OutputCapture::open(Loop& loop, Stream& stream) {
  auto read_end = keeper_.get_fd(stored_name(stream, "r"));
  auto write_end = keeper_.get_fd(stored_name(stream, "w"));
  if (!read_end || !write_end) {
    auto pipe = make_pipe();
    if (!pipe) return fail(pipe.error());
    static_cast<void>(::fcntl(pipe->read_end.get(), F_SETPIPE_SZ, kPipeBytes));  // a user's quota
    if (auto put = keeper_.put_fd(stored_name(stream, "r"), pipe->read_end.get()); !put) return put;
    if (auto put = keeper_.put_fd(stored_name(stream, "w"), pipe->write_end.get()); !put)
      return put;
    read_end = std::move(pipe->read_end);
    write_end = std::move(pipe->write_end);
  }
  stream.read_end = std::move(*read_end);
  stream.write_end = std::move(*write_end);
  // The read end only: a child must not find its stdout non-blocking.
  if (auto set = set_nonblocking(stream.read_end.get(), true); !set) return set;
  auto journal = open_journal(stream);
  if (!journal) return fail(journal.error());
  auto queue = std::make_shared<OutputQueue>(stream.kind, std::move(*journal), log_);
  stream.reader.emplace(stream.read_end.get(), std::move(queue),
                        settings_.when_full == config::WhenFull::Drop);
  stream.poll = std::make_unique<Poll>(loop, stream.read_end.get());
  return {};
}

Result<OutputJournal> OutputCapture::open_journal(const Stream& stream) {
  const std::string name = stored_name(stream, "journal");
  if (auto stored = keeper_.get_fd(name)) {
    if (auto journal = OutputJournal::adopt(std::move(*stored))) return journal;
  }
  auto journal = OutputJournal::create(settings_.buffer.value);
  if (!journal) return journal;
  if (auto put = keeper_.put_fd(name, journal->file()); !put) {
    on_trouble_(fmt::format("a crash of the supervisor may lose output of {}: {}", child_,
                            put.error().message()));
  }
  return journal;
}

void OutputCapture::begin() {
  for (Stream& stream : streams_) {
    stream.reader->queue()->begin(generation_);
    stream.reader->queue()->observe(observer_);
    writer_.add(stream.reader->queue());
    stream.poll->start(kReadable, [this, &stream](int, int) { read_many(stream); });
  }
}

void OutputCapture::set_when_full(config::WhenFull when_full) {
  for (Stream& stream : streams_) stream.reader->set_drops(when_full == config::WhenFull::Drop);
}

bool OutputCapture::read_some(Stream& stream) {
  const auto step = stream.reader->read_some(generation_, observer_);
  if (step == OutputReader::Step::Read) return true;
  if (step == OutputReader::Step::Full && !stream.is_paused) {
    stream.is_paused = true;
    stream.poll->set_events(0);
  }
  return false;
}

void OutputCapture::read_many(Stream& stream) {
  int reads = 0;
  while (reads < kReadsPerRound && read_some(stream)) ++reads;
  if (reads > 0) writer_.notify();
  if (stream.is_paused) writer_.call_back();
  look_at_log();
}

void OutputCapture::on_progress() {
  for (Stream& stream : streams_) {
    if (!stream.is_paused) continue;
    stream.is_paused = false;
    stream.poll->set_events(kReadable);
    read_many(stream);
  }
  look_at_log();
}

void OutputCapture::look_at_log() {
  const bool is_refused = log_->error() != 0;
  if (is_refused != is_refused_) {
    is_refused_ = is_refused;
    on_trouble_(is_refused ? fmt::format("cannot write the log of {}: {}; until that works again "
                                         "its output is dropped and counted",
                                         child_, std::strerror(log_->error()))
                           : fmt::format("the log of {} can be written again; its records were "
                                         "dropped until now",
                                         child_));
  }
  const std::uint64_t late = late_records();
  const MonotonicTime now = SystemClock().now();
  const bool is_told = late_told_at_ && now - *late_told_at_ < kLateReportPeriod;
  if (late == late_told_ || is_told) return;
  on_trouble_(
      fmt::format("the log of {} cannot keep up with its output: {} records were dropped, "
                  "and marked in the log",
                  child_, late - late_told_));
  late_told_ = late;
  late_told_at_ = now;
}

bool OutputCapture::flush(Duration patience) {
  return writer_.flush({streams_[0].reader->queue(), streams_[1].reader->queue()}, patience);
}

void OutputCapture::drain() {
  if (first_read_.is_active()) {  // nothing was read yet
    first_read_.stop();
    begin();
  }
  for (Stream& stream : streams_) {
    for (int reads = 0; reads < kReadsPerDrainMax; ++reads) {
      if (read_some(stream)) continue;
      // What stays in the pipe for want of room has a moment to be written.
      if (!stream.is_paused || !flush(kDrainPatience)) break;
      stream.is_paused = false;
      stream.poll->set_events(kReadable);
    }
    stream.reader->finish(generation_, observer_);
    if (stream.is_paused) writer_.call_back();
  }
  static_cast<void>(flush(kDrainPatience));
  look_at_log();
}

void OutputCapture::remove(Duration patience) {
  first_read_.stop();
  if (!flush(patience)) {
    std::uint64_t bytes = 0;
    for (const Stream& stream : streams_) bytes += stream.reader->queue()->waiting_bytes();
    log::error("{} bytes of output of {} are lost: its log could not be written in time", bytes,
               child_);
  }
  for (Stream& stream : streams_) {
    stream.poll.reset();
    for (const char* end : {"r", "w", "journal"}) keeper_.remove_fd(stored_name(stream, end));
  }
}

std::uint64_t OutputCapture::late_records() const {
  std::uint64_t late = 0;
  for (const Stream& stream : streams_) late += stream.reader->queue()->dropped_records();
  return late;
}

}  // namespace pillion::supervisor::host
