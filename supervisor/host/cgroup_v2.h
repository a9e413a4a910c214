// cgroup v2 backend. `controllers` lists what the base may hand to its leaves; empty in a hybrid
// hierarchy, where v2 only tracks and kills.
#pragma once

#include <set>
#include <string>

#include "supervisor/host/cgroup.h"

namespace pillion::supervisor::host {

class CgroupsV2 final : public Cgroups {
 public:
  // `base` is the directory that holds the leaves. `is_base_ours` false: the base is a delegated
  // group that stays when the service ends.
  CgroupsV2(std::string base, std::set<std::string> controllers, bool is_base_ours);

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
  std::string path(const std::string& leaf) const { return base_ + "/" + leaf; }
  usage::CgroupPaths paths_of(const std::string& directory) const;

  std::string base_;
  std::set<std::string> controllers_;
  bool is_base_ours_;
};

}  // namespace pillion::supervisor::host
