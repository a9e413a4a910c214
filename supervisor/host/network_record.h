// What pillion-netns said that it made, kept in the runtime directory, so that a restarted
// supervisor and `pillion doctor` know it, too.
#pragma once

#include <optional>
#include <string>

#include "config/network.h"
#include "netns/facts.h"
#include "runtime/result.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

class NetworkRecord {
 public:
  explicit NetworkRecord(const ServicePaths& paths);

  // What pillion-netns was asked for: `pillion doctor` compares with it.
  Result<void> keep_wanted(const std::string& json);
  Result<void> keep_facts(const std::string& json);
  Result<void> keep_capture(const std::string& json);
  // Reads what an earlier supervisor kept.
  void load();
  void remove();

  const std::optional<netns::Facts>& facts() const { return facts_; }
  const std::optional<netns::CaptureFacts>& capture() const { return capture_; }

 private:
  std::string wanted_path_;
  std::string facts_path_;
  std::string capture_path_;
  std::optional<netns::Facts> facts_;
  std::optional<netns::CaptureFacts> capture_;
};

// One line for `pillion status`: "bridged 10.213.4.2; captured by nftables, inbound by tproxy;
// while the proxy is down: closed".
std::string describe_network(const config::Network& network, const NetworkRecord& record,
                             bool is_capture_lifted);

}  // namespace pillion::supervisor::host
