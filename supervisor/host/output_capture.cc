#include "supervisor/host/output_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

constexpr int kPipeBytes = 1 << 20;
constexpr int kReadsPerDrainMax = 64;  // of 64 KiB; an orphan may write for ever

}  // namespace

OutputCapture::OutputCapture(Loop& loop, KeeperClient& keeper, std::string child, OutputLog& log,
                             LineObserver observer,
                             std::function<void(const std::string&)> on_trouble)
    : keeper_(keeper),
      child_(std::move(child)),
      log_(log),
      observer_(std::move(observer)),
      on_trouble_(std::move(on_trouble)),
      first_read_(loop) {
  streams_[1].kind = OutputStream::Stderr;
}

Result<std::unique_ptr<OutputCapture>> OutputCapture::create(
    Loop& loop, KeeperClient& keeper, const std::string& child, OutputLog& log,
    LineObserver observer, std::function<void(const std::string&)> on_trouble) {
  std::unique_ptr<OutputCapture> capture(
      new OutputCapture(loop, keeper, child, log, std::move(observer), std::move(on_trouble)));
  for (Stream& stream : capture->streams_) {
    if (auto opened = capture->open(loop, stream); !opened) {
      return fail(opened.error().wrap("cannot capture the output of " + child));
    }
  }
  capture->log_.keep_drops_in(capture->streams_[0].reader->journal().kept_drops());
  // An earlier supervisor may have taken something out of the pipe that is not in the log.
  capture->first_read_.start(Duration::zero(), [capture = capture.get()] {
    for (Stream& stream : capture->streams_) capture->read_some(stream);
  });
  return capture;
}

OutputCapture::~OutputCapture() {
  for (Stream& stream : streams_) {
    if (stream.reader) log_.stop_keeping_drops_in(stream.reader->journal().kept_drops());
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
  stream.reader.emplace(stream.kind, stream.read_end.get(), std::move(*journal), log_);
  stream.poll = std::make_unique<Poll>(loop, stream.read_end.get());
  stream.poll->start(kReadable, [this, &stream](int, int) { read_some(stream); });
  return {};
}

Result<OutputJournal> OutputCapture::open_journal(const Stream& stream) {
  const std::string name = stored_name(stream, "journal");
  if (auto stored = keeper_.get_fd(name)) {
    if (auto journal = OutputJournal::adopt(std::move(*stored))) return journal;
  }
  auto journal = OutputJournal::create();
  if (!journal) return journal;
  if (auto put = keeper_.put_fd(name, journal->file()); !put) {
    on_trouble_(fmt::format("a crash of the supervisor may lose output of {}: {}", child_,
                            put.error().message()));
  }
  return journal;
}

bool OutputCapture::read_some(Stream& stream) {
  const bool has_read = stream.reader->read_some(generation_, observer_);
  if (has_read) look_at_log();
  return has_read;
}

void OutputCapture::look_at_log() {
  const bool is_refused = log_.error() != 0;
  if (is_refused == is_refused_) return;
  is_refused_ = is_refused;
  if (is_refused) {
    on_trouble_(fmt::format(
        "cannot write the log of {}: {}; until that works again its output is dropped and counted",
        child_, std::strerror(log_.error())));
  } else {
    on_trouble_(fmt::format(
        "the log of {} can be written again; its records were dropped until now", child_));
  }
}

void OutputCapture::drain() {
  for (Stream& stream : streams_) {
    for (int reads = 0; reads < kReadsPerDrainMax && read_some(stream); ++reads) {
    }
    stream.reader->finish(generation_, observer_);
  }
  look_at_log();
}

void OutputCapture::remove() {
  first_read_.stop();
  for (Stream& stream : streams_) {
    stream.poll.reset();
    for (const char* end : {"r", "w", "journal"}) keeper_.remove_fd(stored_name(stream, end));
  }
}

}  // namespace pillion::supervisor::host
