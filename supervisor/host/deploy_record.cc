#include "supervisor/host/deploy_record.h"

#include <nlohmann/json.hpp>

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::ordered_json;

Json encode(const AppPortMap& ports) {
  Json json = Json::array();
  for (const auto& [port, app_port] : ports) json.push_back({port, app_port});
  return json;
}

AppPortMap decode_ports(const Json& json) {
  AppPortMap ports;
  for (const Json& one : json)
    ports[one.at(0).get<std::uint16_t>()] = one.at(1).get<std::uint16_t>();
  return ports;
}

Json encode(const DeployOutcome& outcome) {
  return {{"number", outcome.number},
          {"promoted", outcome.is_promoted},
          {"generation", outcome.generation},
          {"reason", outcome.reason},
          {"lines", outcome.lines}};
}

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string to_json(const DeployOutcome& outcome) { return text_of(encode(outcome)); }

std::string to_json(const DeployRecord& record) {
  Json json;
  json["slots"] = Json::array();
  for (const auto& [slot, ports] : record.slots) json["slots"].push_back({slot, encode(ports)});
  json["next_ports"] = encode(record.next_ports);
  json["drain_milliseconds"] = record.drain_milliseconds;
  json["traffic"] = encode(record.traffic);
  json["count"] = record.count;
  json["source"] = record.source;
  if (record.last) json["last"] = encode(*record.last);
  return text_of(json);
}

// The library reports by exception; this is the boundary.
Result<DeployRecord> parse_deploy_record(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    DeployRecord record;
    for (const Json& slot : json.at("slots")) {
      record.slots[slot.at(0).get<core::ChildId>()] = decode_ports(slot.at(1));
    }
    record.next_ports = decode_ports(json.at("next_ports"));
    record.drain_milliseconds = json.at("drain_milliseconds").get<std::int64_t>();
    record.traffic = decode_ports(json.at("traffic"));
    record.count = json.at("count").get<std::uint64_t>();
    record.source = json.at("source").get<std::string>();
    if (json.contains("last")) {
      const Json& last = json["last"];
      record.last = DeployOutcome{
          last.at("number").get<std::uint64_t>(), last.at("promoted").get<bool>(),
          last.at("generation").get<std::uint64_t>(), last.at("reason").get<std::string>(),
          last.at("lines").get<std::vector<std::string>>()};
    }
    return record;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read the record of deploys: ") + error.what());
  }
}

}  // namespace pillion::supervisor::host
