// The checkpoint's text, its checksum, and what happens when it is damaged.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "adapters/logs/follow/checkpoint.h"

namespace pillion::logs {
namespace {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/pillion-checkpoint-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

FileCheckpoint sample(std::uint64_t offset) {
  FileCheckpoint file;
  file.input = "/var/log/*.log";
  file.path = "/var/log/a \"b\"\n.log";
  file.device = 0xfe00;
  file.inode = 18446744073709551615u;
  file.born_ns = 1705329121000000001;
  file.head_length = 1024;
  file.head_hash = 0xffffffffffffffffu;
  file.tail_length = 64;
  file.tail_hash = 1;
  file.offset = offset;
  file.document_id = 7;
  file.epoch = 2;
  file.is_finished = true;
  return file;
}

Checkpoint whole(std::vector<FileCheckpoint> files) {
  return {std::move(files), "file \"out\"", {{"/var/log/a\nb.log", {5, 3, 2, 7}}}};
}

TEST_CASE("CRC-32C gives the values of RFC 3720") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
}

TEST_CASE("A checkpoint is read back as it was written") {
  const Checkpoint checkpoint = whole({sample(1), sample(2)});
  CHECK(parse_checkpoint(render_checkpoint(checkpoint)).value() == checkpoint);
  CHECK(parse_checkpoint(render_checkpoint({})).value() == Checkpoint{});
}

TEST_CASE("Any changed or missing byte of a checkpoint is noticed") {
  const std::string text = render_checkpoint(whole({sample(1), sample(2)}));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
    const auto files = parse_checkpoint(damaged);
    INFO("byte " << i);
    // The count of entries and white space in the header are not what is restored.
    if (files) CHECK(*files == parse_checkpoint(text).value());
    CHECK_FALSE(parse_checkpoint(text.substr(0, i)));
  }
}

TEST_CASE("A damaged checkpoint gives way to the one before it, then to none") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("c");
  std::vector<std::string> problems;
  CHECK(load_checkpoint(path, problems).files.empty());
  CHECK(problems.empty());
  REQUIRE(save_checkpoint(path, whole({sample(1)})));
  REQUIRE(save_checkpoint(path, whole({sample(2)})));
  CHECK(load_checkpoint(path, problems).files.at(0).offset == 2);
  std::ofstream(path) << "rubbish";
  CHECK(load_checkpoint(path, problems).files.at(0).offset == 1);
  CHECK(problems == std::vector<std::string>{"cannot use checkpoint " + path + ": no header line"});
  std::ofstream(path + ".prev") << "{}\n";
  problems.clear();
  CHECK(load_checkpoint(path, problems).files.empty());
  CHECK(problems.size() == 2);
  REQUIRE(save_checkpoint(path, whole({sample(3)})));
  CHECK(load_checkpoint(path, problems).files.at(0).offset == 3);
}

}  // namespace
}  // namespace pillion::logs
