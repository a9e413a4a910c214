// The disk behind a path, as the I/O controllers of cgroups name it.
#pragma once

#include <string>

#include "runtime/result.h"

namespace pillion::supervisor::host {

// "254:0" of the whole disk for a block device, a partition, or any path on a file system that lies
// on one. An error when there is no such path, or no one block device behind it (tmpfs, overlay,
// btrfs, network file systems).
Result<std::string> find_block_device(const std::string& path);

}  // namespace pillion::supervisor::host
