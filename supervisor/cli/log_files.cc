#include "supervisor/cli/log_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace pillion::supervisor::cli {

namespace {
constexpr int kRotatedFilesMax = 100;
constexpr std::string_view kSuffix = ".log";
}  // namespace

std::vector<std::string> list_logged_children(const std::string& directory) {
  std::vector<std::string> children;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string file = entry.path().filename().string();
    if (file.size() <= kSuffix.size() ||
        file.compare(file.size() - kSuffix.size(), kSuffix.size(), kSuffix) != 0) {
      continue;
    }
    children.push_back(file.substr(0, file.size() - kSuffix.size()));
  }
  std::sort(children.begin(), children.end());
  return children;
}

LogFollower::LogFollower(std::string directory, std::string child)
    : path_(std::move(directory) + "/" + std::move(child) + std::string(kSuffix)) {}

void LogFollower::read(const OnLine& on_line) {
  if (!has_read_rotated_) {
    has_read_rotated_ = true;
    int oldest = 0;
    while (oldest < kRotatedFilesMax &&
           ::access(fmt::format("{}.{}", path_, oldest + 1).c_str(), R_OK) == 0) {
      ++oldest;
    }
    for (int number = oldest; number >= 1; --number) {
      auto file = open_file(fmt::format("{}.{}", path_, number), O_RDONLY);
      if (!file) continue;
      file_ = std::move(*file);
      read_rest(on_line);
    }
    file_.reset();
  }
  read_rest(on_line);
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) return;
  if (file_ && status.st_dev == device_ && status.st_ino == inode_) return;
  open_next(on_line);
}

// The current file was renamed away, or there was none.
void LogFollower::open_next(const OnLine& on_line) {
  read_rest(on_line);
  auto file = open_file(path_, O_RDONLY);
  struct stat status {};
  if (!file || ::fstat(file->get(), &status) != 0) return;
  file_ = std::move(*file);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  read_rest(on_line);
}

void LogFollower::read_rest(const OnLine& on_line) {
  if (!file_) return;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t count = ::read(file_.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    partial_.append(buffer, static_cast<std::size_t>(count));
    std::size_t start = 0;
    for (std::size_t newline; (newline = partial_.find('\n', start)) != std::string::npos;
         start = newline + 1) {
      on_line(std::string_view(partial_).substr(start, newline - start));
    }
    partial_.erase(0, start);
  }
}

}  // namespace pillion::supervisor::cli
