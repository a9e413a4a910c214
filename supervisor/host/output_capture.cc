#include "supervisor/host/output_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace pillion::supervisor::host {
namespace {

constexpr int kPipeBytes = 1 << 20;
constexpr int kReadsPerDrainMax = 64;  // of 64 KiB; an orphan may write for ever

}  // namespace

OutputCapture::OutputCapture(KeeperClient& keeper, std::string child, OutputLog& log,
                             LineObserver observer)
    : keeper_(keeper), child_(std::move(child)), log_(log), observer_(std::move(observer)) {
  streams_[1].kind = OutputStream::Stderr;
}

Result<std::unique_ptr<OutputCapture>> OutputCapture::create(Loop& loop, KeeperClient& keeper,
                                                             const std::string& child,
                                                             OutputLog& log,
                                                             LineObserver observer) {
  std::unique_ptr<OutputCapture> capture(
      new OutputCapture(keeper, child, log, std::move(observer)));
  for (Stream& stream : capture->streams_) {
    if (auto opened = capture->open(loop, stream); !opened) {
      return fail(opened.error().wrap("cannot capture the output of " + child));
    }
  }
  return capture;
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
  stream.poll = std::make_unique<Poll>(loop, stream.read_end.get());
  stream.poll->start(kReadable, [this, &stream](int, int) { read_some(stream); });
  return {};
}

bool OutputCapture::read_some(Stream& stream) {
  char buffer[65536];
  const ssize_t count = ::read(stream.read_end.get(), buffer, sizeof buffer);
  if (count < 0 && errno == EINTR) return true;
  if (count <= 0) return false;
  stream.splitter.feed(
      std::string_view(buffer, static_cast<std::size_t>(count)),
      [&](std::string_view line, bool is_partial) { write_line(stream, line, is_partial); });
  return true;
}

void OutputCapture::write_line(Stream& stream, std::string_view line, bool is_partial) {
  log_.write(frame_record(SystemClock().wall_now(), stream.kind, is_partial, generation_, line));
  if (observer_) observer_(stream.kind, line, is_partial);
}

void OutputCapture::drain() {
  for (Stream& stream : streams_) {
    for (int reads = 0; reads < kReadsPerDrainMax && read_some(stream); ++reads) {
    }
    stream.splitter.finish(
        [&](std::string_view line, bool is_partial) { write_line(stream, line, is_partial); });
  }
}

void OutputCapture::remove() {
  for (Stream& stream : streams_) {
    stream.poll.reset();
    keeper_.remove_fd(stored_name(stream, "r"));
    keeper_.remove_fd(stored_name(stream, "w"));
  }
}

}  // namespace pillion::supervisor::host
