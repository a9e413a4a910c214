#include "supervisor/host/block_device.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include "runtime/fd.h"
#include "supervisor/host/cgroup_files.h"

namespace pillion::supervisor::host {

Result<std::string> find_block_device(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) < 0) return fail_errno("cannot find " + path);
  const bool is_device = S_ISBLK(status.st_mode);
  const dev_t number = is_device ? status.st_rdev : status.st_dev;
  const std::string name = fmt::format("{}:{}", major(number), minor(number));
  const std::string directory = "/sys/dev/block/" + name;
  if (!file_exists(directory)) {
    return fail(is_device ? fmt::format("the kernel does not know the block device {}", path)
                          : fmt::format("{} lies on no block device", path));
  }
  // Bounds are kept per disk: a partition stands for the disk that holds it.
  if (!file_exists(directory + "/partition")) return name;
  auto disk = read_file(directory + "/../dev");
  if (!disk) return fail(disk.error());
  return disk->substr(0, disk->find('\n'));
}

}  // namespace pillion::supervisor::host
