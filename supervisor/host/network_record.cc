#include "supervisor/host/network_record.h"

#include <unistd.h>

#include <fmt/format.h>

#include "runtime/fd.h"
#include "runtime/file_replacement.h"
#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

template<class T>
Result<void> keep(const std::string& path, const std::string& json,
                  Result<T> (*parse)(std::string_view), std::optional<T>& slot) {
  auto parsed = parse(json);
  if (!parsed) return fail(parsed.error().wrap("cannot read what pillion-netns did"));
  slot = std::move(*parsed);
  return replace_file(path, json, 0644, Survives::ProcessCrash);
}

template<class T>
void load_from(const std::string& path, Result<T> (*parse)(std::string_view),
               std::optional<T>& slot) {
  auto text = read_file(path);
  if (!text) return;  // there was no network, or no capture yet
  auto parsed = parse(*text);
  if (!parsed) return log::warn("cannot use {}: {}", path, parsed.error().message());
  slot = std::move(*parsed);
}

}  // namespace

NetworkRecord::NetworkRecord(const ServicePaths& paths)
    : wanted_path_(paths.runtime + "/wanted.json"),
      facts_path_(paths.runtime + "/network.json"),
      capture_path_(paths.runtime + "/capture.json") {}

Result<void> NetworkRecord::keep_wanted(const std::string& json) {
  return write_file_atomically(wanted_path_, json, 0600);
}

Result<void> NetworkRecord::keep_facts(const std::string& json) {
  return keep(facts_path_, json, netns::parse_facts, facts_);
}

Result<void> NetworkRecord::keep_capture(const std::string& json) {
  return keep(capture_path_, json, netns::parse_capture_facts, capture_);
}

void NetworkRecord::load() {
  load_from(facts_path_, netns::parse_facts, facts_);
  load_from(capture_path_, netns::parse_capture_facts, capture_);
}

void NetworkRecord::remove() {
  ::unlink(wanted_path_.c_str());
  ::unlink(facts_path_.c_str());
  ::unlink(capture_path_.c_str());
  facts_.reset();
  capture_.reset();
}

std::string describe_network(const config::Network& network, const NetworkRecord& record,
                             bool is_capture_lifted) {
  std::string text{config::name_of(network.mode)};
  if (record.facts() && network.mode == config::NetworkMode::Bridged) {
    text += " " + record.facts()->address4;
    if (!record.facts()->address6.empty()) text += " " + record.facts()->address6;
  }
  if (!network.intercept.inbound && !network.intercept.outbound) return text + "; not captured";
  if (!record.capture()) return text + "; not captured yet";
  const netns::CaptureFacts& capture = *record.capture();
  text += fmt::format("; captured by {}", netns::backend_text(capture.backend));
  if (network.intercept.inbound) {
    text += fmt::format(", inbound by {} ({})", netns::inbound_method_text(capture.inbound_method),
                        capture.inbound_reason);
  }
  text +=
      fmt::format("; while the proxy is down: {}", netns::proxy_down_text(capture.when_proxy_down));
  if (is_capture_lifted) text += "; the proxy is down now, connections go past it";
  return text;
}

}  // namespace pillion::supervisor::host
