// Reading and writing the small files of a cgroup directory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion::supervisor::host {

// Errors name the file and the value.
Result<void> write_cgroup_file(const std::string& path, std::string_view value);
bool file_exists(const std::string& path);

// The number in a file that holds one; 0 when it cannot be read or says "max".
std::uint64_t read_cgroup_number(const std::string& path);
// The number after `key` in a file of "key value" lines; 0 when there is none.
std::uint64_t read_cgroup_key(const std::string& path, std::string_view key);
std::uint64_t find_cgroup_key(std::string_view text, std::string_view key);

std::vector<long> read_pids(const std::string& procs_file);
// Sends `signal_number` to every process listed in `procs_file`.
void signal_pids(const std::string& procs_file, int signal_number);

// mkdir that accepts an existing directory.
Result<void> make_cgroup(const std::string& path);
// True when the directory is gone afterwards.
bool remove_cgroup(const std::string& path);
// The same with the groups that a child made within its own.
bool remove_cgroup_tree(const std::string& path, unsigned depth_max = 16);
// Names of the sub-directories, sorted.
std::vector<std::string> list_cgroups(const std::string& path);

}  // namespace pillion::supervisor::host
