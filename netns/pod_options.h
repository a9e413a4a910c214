// Capture in a Pod's own namespace, told by flags or annotations instead of a document. Names and
// meanings are those of istio-iptables and of Istio's annotations, so that people who move need to
// learn nothing. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

// Flags as they were given; "" = not given.
struct PodOptions {
  std::string name = "pod";           // of the table: "pillion_pod"
  std::string namespace_path;         // another namespace than the caller's
  std::string outbound_port;          // "15001"
  std::string inbound_capture_port;   // "15006"
  std::string proxy_uids;             // "1337,1338": the first is the proxy's
  std::string proxy_gids;             // "1337"
  std::string inbound_mode;           // "REDIRECT", "TPROXY", "NONE", "auto"
  std::string inbound_ports;          // "8080,9090", "*" or ""
  std::string exclude_inbound_ports;  // "22"
  std::string outbound_cidrs;         // "10.0.0.0/8", "*"
  std::string exclude_outbound_cidrs;
  std::string outbound_ports;  // "80,443", "8000-8010", "*"
  std::string exclude_outbound_ports;
  std::string exclude_interfaces;     // "net1,net2"
  std::string only_owner_uids;        // capture these users only
  std::string outbound_owner_groups;  // capture these groups only
  std::string exclude_outbound_owner_groups;
  std::string backend;  // "auto", "nftables", "iptables"
  bool redirect_dns = false;

  bool operator==(const PodOptions&) const = default;
};

// Annotations of a Pod in the form of the downward API, one KEY="VALUE" (a Go string) per line.
// Those that are about capture fill options that were not given by a flag; others are skipped. An
// annotation of Istio about capture that has no counterpart is an error that says so.
Result<void> read_annotations(std::string_view text, PodOptions& options);

// What the options ask for, in mode host (or join, with a namespace's path).
Result<Wanted> wanted_from_pod_options(const PodOptions& options);

}  // namespace pillion::netns
