#include "proxy/rules/rule_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "proxy/host_names.h"
#include "proxy/rules/json_value.h"
#include "proxy/rules/path.h"
#include "proxy/tls_peer.h"
#include "runtime/http1/syntax.h"

namespace pillion::proxy {
namespace {

constexpr std::size_t kHeaderBytesMax = 1024;

Direction direction_of(config::TrafficSide side) {
  return side == config::TrafficSide::Inbound ? Direction::Inbound : Direction::Outbound;
}

template<class List, class Predicate>
bool is_any_or(const List& list, Predicate predicate) {
  return list.empty() || std::any_of(list.begin(), list.end(), predicate);
}

bool matches_content_type(std::string_view pattern, std::string_view value) {
  value = value.substr(0, value.find(';'));
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  if (!pattern.ends_with("/*")) return http1::equals_ignoring_case(value, pattern);
  return http1::starts_with_ignoring_case(value, pattern.substr(0, pattern.size() - 1));
}

// What the head alone decides. `path` is normalised; empty where it is ambiguous.
bool matches_head(const config::ProxyRule& rule, const RuleQuestion& question,
                  const std::optional<std::string>& path) {
  const std::string_view host = http1::split_authority(question.authority).host;
  return direction_of(rule.side) == question.direction &&
         is_any_or(rule.ports, [&](auto port) { return port == question.app_port; }) &&
         is_any_or(rule.peers,
                   [&](const auto& peer) {
                     return !question.peer.empty() && matches_spiffe(peer, question.peer);
                   }) &&
         is_any_or(rule.methods, [&](const auto& method) { return method == question.method; }) &&
         is_any_or(rule.hosts, [&](const auto& one) { return matches_host(one, host); }) &&
         is_any_or(
             rule.content_types,
             [&](const auto& type) { return matches_content_type(type, question.content_type); }) &&
         is_any_or(rule.paths, [&](const auto& one) { return path && matches_path(one, *path); });
}

std::string to_lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return text;
}

RuleStep refuse(int status, std::string reason) {
  RuleStep step;
  step.kind = RuleStep::Kind::Refuse;
  step.status = status;
  step.reason = std::move(reason);
  return step;
}

bool reads_content(const config::ProxyRule& rule) { return rule.body_matches || rule.json_pointer; }

}  // namespace

void RuleWalk::set_header(std::string_view name, std::string value) {
  for (auto& [known, old] : set_headers) {
    if (to_lower(known) == to_lower(std::string(name))) {
      old = std::move(value);
      return;
    }
  }
  set_headers.emplace_back(name, std::move(value));
}

std::string expand_captures(std::string_view text, const Captures& captures) {
  std::string raw;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '$' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == '$') {
      raw.push_back('$');
      ++i;
    } else if (next >= '0' && next <= '9') {
      raw.append(captures[static_cast<std::size_t>(next - '0')]);
      ++i;
    } else {
      raw.push_back(text[i]);
    }
  }
  std::string out;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (out.size() + 3 > kHeaderBytesMax) break;
    if (byte >= 0x20 && byte < 0x7f) {
      out.push_back(c);
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

Result<RuleSet> RuleSet::compile(std::vector<config::ProxyRule> rules,
                                 const std::vector<config::Upstream>& upstreams) {
  RuleSet set;
  for (config::ProxyRule& config : rules) {
    Rule rule;
    for (const auto& [text, place] : {std::pair(&config.body_matches, &rule.body),
                                      std::pair(&config.json_matches, &rule.json)}) {
      if (!*text) continue;
      auto pattern = Pattern::compile(**text);
      if (!pattern) return fail(pattern.error().wrap("rule " + config.name));
      *place = std::move(*pattern);
    }
    for (auto* list : {&config.hosts, &config.content_types}) {
      for (std::string& one : *list) one = to_lower(one);
    }
    if (config.json_pointer) rule.json_pointer = split_json_pointer(*config.json_pointer);
    const auto found = std::find_if(upstreams.begin(), upstreams.end(), [&](const auto& upstream) {
      return upstream.name == config.upstream;
    });
    if (found != upstreams.end()) {
      rule.upstream = static_cast<std::size_t>(found - upstreams.begin());
    }
    set.has_rules_[static_cast<std::size_t>(direction_of(config.side))] = true;
    rule.config = std::move(config);
    set.rules_.push_back(std::move(rule));
  }
  return set;
}

RuleSet::Match RuleSet::match_json(const Rule& rule, std::string_view body, Captures& captures,
                                   RuleStep& refusal) const {
  JsonValue value = find_json_value(body, rule.json_pointer);
  switch (value.kind) {
    case JsonValue::Kind::Malformed:
      refusal = refuse(400, "the body is not valid JSON");
      return Match::Refused;
    case JsonValue::Kind::Ambiguous:
      refusal = refuse(400, "a name occurs twice in an object of the body");
      return Match::Refused;
    case JsonValue::Kind::Absent: return Match::No;
    case JsonValue::Kind::Composite: return rule.json ? Match::No : Match::Yes;
    case JsonValue::Kind::Scalar: break;
  }
  if (!rule.json) {
    captures = {};
    captures[0] = std::move(value.text);
    return Match::Yes;
  }
  switch (rule.json->search(value.text, captures)) {
    case Pattern::Found::Yes: return Match::Yes;
    case Pattern::Found::No: return Match::No;
    case Pattern::Found::TooMuchWork: break;
  }
  refusal = refuse(400, "the rule " + rule.config.name + " cannot examine the body in its limits");
  return Match::Refused;
}

RuleSet::Match RuleSet::match_body(const Rule& rule, const RuleQuestion& question,
                                   std::string_view body, Captures& captures,
                                   RuleStep& refusal) const {
  const config::ProxyRule& config = rule.config;
  if (config.body_larger_than && body.size() <= config.body_larger_than->value) return Match::No;
  if (!reads_content(config)) return Match::Yes;
  // What is compressed says nothing, and the app might unpack it.
  if (!body.empty() && !question.content_encoding.empty() &&
      !http1::equals_ignoring_case(question.content_encoding, "identity")) {
    refusal = refuse(415, "a body that is examined must not have a Content-Encoding");
    return Match::Refused;
  }
  if (rule.body) {
    const Pattern::Found found = rule.body->search(body, captures);
    if (found == Pattern::Found::No) return Match::No;
    if (found == Pattern::Found::TooMuchWork) {
      refusal = refuse(400, "the rule " + config.name + " cannot examine the body in its limits");
      return Match::Refused;
    }
  }
  if (!config.json_pointer) return Match::Yes;
  return body.empty() ? Match::No : match_json(rule, body, captures, refusal);
}

RuleStep RuleSet::advance(const RuleQuestion& question, std::optional<std::string_view> body,
                          RuleWalk& walk) const {
  const auto path = normalise_path(question.path);
  for (; walk.next < rules_.size(); ++walk.next, walk.is_checked = false) {
    const Rule& rule = rules_[walk.next];
    const config::ProxyRule& config = rule.config;
    if (!path && !config.paths.empty() && direction_of(config.side) == question.direction) {
      return refuse(400, "the path can be read in several ways, and rules depend on it");
    }
    RuleStep step;
    step.rule = &config;
    if (!walk.is_checked) {
      if (!matches_head(config, question, path)) continue;
      Captures captures;
      if (config.inspects_body()) {
        step.kind = RuleStep::Kind::NeedsBody;
        if (!body) return step;
        const Match match = match_body(rule, question, *body, captures, step);
        if (match == Match::Refused) return step;
        if (match == Match::No) continue;
      }
      for (const auto& [name, value] : config.set_headers) {
        walk.set_header(name, expand_captures(value, captures));
      }
      if (rule.upstream) walk.upstream = rule.upstream;
      if (config.check) {
        step.kind = RuleStep::Kind::NeedsCheck;
        return step;
      }
    }
    if (config.action == config::RuleAction::Deny) {
      return refuse(static_cast<int>(config.status), "the rule " + config.name + " denies it");
    }
    if (config.action == config::RuleAction::Allow) break;
  }
  return {};
}

}  // namespace pillion::proxy
