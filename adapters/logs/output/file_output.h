// Records appended to a file, in order, rotated by size: PATH becomes PATH.1, that PATH.2, and so
// on. Rotation happens between records. Writing happens on the thread pool, so that a slow disk
// does not stop the loop.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/output/output.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct FileOutputOptions {
  std::string path;
  std::uint64_t bytes_max = 100u << 20;
  unsigned files_max = 5;
  unsigned mode = 0640;
};

// The file and its rotation; blocks for the disk. One thread at a time.
class RotatedFile {
 public:
  explicit RotatedFile(FileOutputOptions options) : options_(std::move(options)) {}

  // Appends blocks of whole records, in as few writes as rotation allows. Returns how many blocks
  // were written, which is fewer than given only on an error; of the others nothing stays in the
  // file, unless it cannot be cut either.
  std::size_t append(std::span<const std::string_view> blocks, Result<void>& result);
  Result<void> sync();

 private:
  Result<void> open();
  Result<void> rotate();
  Result<void> follow_name();
  Result<std::size_t> write_together(std::span<const std::string_view> blocks);

  FileOutputOptions options_;
  Fd fd_;
  std::uint64_t size_ = 0;
};

class FileOutput final : public Output {
 public:
  FileOutput(Loop& loop, FileOutputOptions options, OnDone on_done);
  ~FileOutput() override;

  std::string name() const override { return "file " + path_; }
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return 256u << 10; }
  std::size_t in_flight_bytes_max() const override { return 2u << 20; }
  Result<void> sync() override;
  void hurry() override;
  std::string trouble() const override { return trouble_; }

 private:
  // Shared with the work on the pool, which may end after us.
  struct Shared {
    explicit Shared(FileOutputOptions options) : file(std::move(options)) {}
    std::mutex mutex;  // append() and sync() come from different pool threads
    RotatedFile file;
  };
  // What one piece of work on the pool did.
  struct Written {
    std::size_t blocks = 0;
    Result<void> result;
  };
  void write_next();
  void on_written(const Written& written);

  Loop& loop_;
  std::string path_;
  OnDone on_done_;
  std::shared_ptr<Shared> shared_;  // see above
  std::shared_ptr<bool> is_alive_;  // told to work that ends after us
  std::deque<Batch*> queue_;
  bool is_writing_ = false;
  Timer retry_;
  std::string trouble_;
};

}  // namespace pillion::logs
