// Runs a fuzz target without libFuzzer, so that every test run covers it: first each file of the
// seed corpus, then for some seconds what becomes of them by random edits (always the same ones, in
// the same order). An input that crashes is left in the file fuzz-crash of the working directory.
// Usage: fuzz_NAME [--seconds N] FILE-OR-DIRECTORY...; exits 1 when no input was found.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kInputBytesMax = 16 * 1024;
constexpr int kEditsMax = 4;

std::string current;

// Async-signal-safe; then the signal does what it does without a handler.
void keep_input(int signal) {
  const int file = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file >= 0) {
    const ssize_t written = write(file, current.data(), current.size());
    static_cast<void>(written);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::string> read_seeds(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_regular_file(root)) {
    files.push_back(root);
  } else {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const auto& file : files) seeds.push_back(read(file));
  return seeds;
}

class Editor {
 public:
  explicit Editor(const std::vector<std::string>& seeds) : seeds_(seeds) {}

  std::string next() {
    std::string input = seeds_[below(seeds_.size())];
    for (std::size_t edits = 1 + below(kEditsMax); edits > 0; --edits) edit(input);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void edit(std::string& input) {
    const std::size_t at = below(input.size() + 1);
    const std::size_t count = below(std::min<std::size_t>(input.size() - at, 16) + 1);
    switch (below(7)) {
      case 0: input.erase(at, count); return;
      case 1: input.insert(at, input.substr(at, count)); return;
      case 2: input.insert(at, 1, static_cast<char>(random_())); return;
      case 3: input.resize(at); return;
      case 4: {  // a piece of another seed
        const std::string& other = seeds_[below(seeds_.size())];
        const std::size_t from = below(other.size() + 1);
        input.insert(at, other, from, below(other.size() - from + 1));
        return;
      }
      case 5:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        return;
      default:
        if (at < input.size()) input[at] = kTelling[below(sizeof kTelling - 1)];
        return;
    }
  }

  static constexpr char kTelling[] = "\0\xff\x7f\x80\r\n \t:;,=\"'\\/{}[]()0123456789-+%";

  const std::vector<std::string>& seeds_;
  std::mt19937 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, keep_input);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they report these themselves
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, keep_input);
#endif
  std::chrono::seconds seconds{0};
  std::vector<std::string> seeds;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
      seconds = std::chrono::seconds(std::atoi(argv[++i]));
      continue;
    }
    for (std::string& seed : read_seeds(argv[i])) seeds.push_back(std::move(seed));
  }
  for (const std::string& seed : seeds) run(seed);
  std::printf("replayed %zu inputs\n", seeds.size());
  if (seeds.empty()) return 1;
  Editor editor(seeds);
  std::size_t count = 0;
  const auto end = std::chrono::steady_clock::now() + seconds;
  while (std::chrono::steady_clock::now() < end) {
    run(editor.next());
    ++count;
  }
  std::printf("tried %zu edited inputs\n", count);
  return 0;
}
