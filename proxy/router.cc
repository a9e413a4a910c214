#include "proxy/router.h"

namespace pillion::proxy {
namespace {

RouteAnswer to_upstream(std::size_t index) { return {RouteAnswer::Kind::Upstream, index}; }

// By name first, then by the virtual address that stood for a name when the app resolved it. "*"
// takes the rest, but not what a virtual address says nobody is there for.
RouteAnswer choose_outbound(const Snapshot& snapshot, const RouteQuestion& question) {
  if (const auto index = snapshot.upstream_of_authority(question.authority)) {
    return to_upstream(*index);
  }
  if (const auto index = snapshot.upstream_of_address(question.destination)) {
    return to_upstream(*index);
  }
  const bool is_virtual = is_virtual_address(question.destination);
  if (!is_virtual) {
    if (const auto index = snapshot.upstream_of_any(question.authority)) return to_upstream(*index);
  }
  const bool is_passed_through =
      snapshot.config().outbound.unknown == config::UnknownDestination::Passthrough && !is_virtual;
  return {is_passed_through ? RouteAnswer::Kind::Destination : RouteAnswer::Kind::Refused, 0};
}

}  // namespace

RouteAnswer choose_route(const Snapshot& snapshot, const RouteQuestion& question) {
  switch (question.kind) {
    case ListenerKind::Inbound:
    case ListenerKind::Publish: return {RouteAnswer::Kind::Destination, 0};
    case ListenerKind::Outbound: return choose_outbound(snapshot, question);
    case ListenerKind::Explicit: break;
  }
  if (question.upstream && !question.is_fallback) return to_upstream(*question.upstream);
  if (const auto index = snapshot.upstream_of_authority(question.authority)) {
    return to_upstream(*index);
  }
  if (const auto index = snapshot.neighbour_of_authority(question.authority)) {
    return to_upstream(*index);
  }
  if (const auto index = snapshot.upstream_of_any(question.authority)) return to_upstream(*index);
  if (question.upstream) return to_upstream(*question.upstream);
  return {};
}

}  // namespace pillion::proxy
