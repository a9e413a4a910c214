#include "runtime/file_replacement.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "runtime/fd.h"

namespace pillion {
namespace {

Result<void> fill_temporary(int fd, const std::string& path, std::string_view content,
                            unsigned mode, Survives survives) {
  if (::fchmod(fd, mode) < 0) return fail_errno("cannot set mode of " + path);
  if (auto written = write_all(fd, content); !written) return fail(written.error().wrap(path));
  if (survives == Survives::PowerLoss && ::fsync(fd) < 0) return fail_errno("cannot sync " + path);
  return {};
}

// The rename itself.
Result<void> sync_directory(const std::string& directory) {
  auto parent = open_file(directory, O_RDONLY | O_DIRECTORY);
  if (!parent) return fail(parent.error());
  if (::fsync(parent->get()) < 0 && errno != EINVAL) return fail_errno("cannot sync " + directory);
  return {};
}

}  // namespace

Result<void> replace_file(const std::string& path, std::string_view content, unsigned mode,
                          Survives survives) {
  std::string temporary = path + ".XXXXXX";
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return fail_errno("cannot create " + temporary);
  auto filled = fill_temporary(fd.get(), temporary, content, mode, survives);
  if (filled && ::rename(temporary.c_str(), path.c_str()) < 0) {
    filled = fail_errno("cannot rename " + temporary + " to " + path);
  }
  if (!filled) {
    ::unlink(temporary.c_str());
    return filled;
  }
  if (survives == Survives::ProcessCrash) return {};
  const auto slash = path.rfind('/');
  return sync_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

}  // namespace pillion
