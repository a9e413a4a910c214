// cgroup v1 backend, alone or with a v2 hierarchy beside it for tracking and killing (hybrid).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "supervisor/host/cgroup.h"
#include "supervisor/host/cgroup_v2.h"

namespace pillion::supervisor::host {

class CgroupsV1 final : public Cgroups {
 public:
  // `bases` maps a controller ("cpu", "cpuacct", "memory", "pids", "freezer", "cpuset", "blkio") to
  // the directory that holds its leaves. Controllers mounted together share a directory. `tracker`
  // may be null.
  CgroupsV1(std::map<std::string, std::string> bases, std::unique_ptr<CgroupsV2> tracker);

  Result<void> create(const std::string& leaf, const CgroupLimits& limits) override;
  Result<void> update(const std::string& leaf, const CgroupLimits& limits,
                      const CgroupLimits& before) override;
  std::vector<UnenforcedSetting> unenforced(const CgroupLimits& limits) const override;
  Result<void> freeze(const std::string& leaf, bool is_frozen) override;
  usage::CgroupPaths paths(const std::string& leaf) const override;
  usage::CgroupPaths base_paths() const override;
  Result<CgroupEntry> entry(const std::string& leaf) override;
  void kill(const std::string& leaf) override;
  void signal(const std::string& leaf, int signal_number) override;
  bool is_empty(const std::string& leaf) const override;
  bool contains(const std::string& leaf, long pid) const override;
  bool remove(const std::string& leaf) override;
  CgroupUsage usage(const std::string& leaf) const override;
  std::uint64_t oom_kills(const std::string& leaf) const override;
  std::vector<std::string> leaves() const override;
  bool remove_base() override;
  std::string describe() const override;
  bool enforces_limits() const override;

 private:
  // Empty when the controller is not there.
  std::string path(const std::string& controller, const std::string& leaf) const;
  std::string procs_file(const std::string& leaf) const;
  usage::CgroupPaths paths_below(const std::string& leaf) const;
  Result<void> make_directories(const std::string& leaf);
  Result<void> prepare_cpuset(const std::string& leaf);

  std::map<std::string, std::string> bases_;
  std::unique_ptr<CgroupsV2> tracker_;
};

}  // namespace pillion::supervisor::host
