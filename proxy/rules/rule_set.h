// The configured rules, compiled: which of them a request meets, and what follows. Pure: no I/O, no
// clock. A walk over the rules stops where it needs what is not there yet (the body, the verdict of
// an external check) and goes on from there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/proxy.h"
#include "proxy/rules/pattern.h"
#include "proxy/stats.h"
#include "runtime/result.h"

namespace pillion::proxy {

// What is known of a request when its head has come. The views must last while it is asked.
struct RuleQuestion {
  Direction direction = Direction::Inbound;
  std::uint16_t app_port = 0;
  std::string_view peer;  // the client's verified SPIFFE id; "" without one
  std::string_view method;
  std::string_view authority;
  std::string_view path;  // as it came
  std::string_view content_type;
  std::string_view content_encoding;
};

// Where a walk is, and what it has gathered for the request that is sent on.
struct RuleWalk {
  std::size_t next = 0;
  bool is_checked = false;  // the rule at `next` has its external check behind it
  std::vector<std::pair<std::string, std::string>> set_headers;  // later ones replace earlier ones
  std::optional<std::size_t> upstream;

  void set_header(std::string_view name, std::string value);
};

struct RuleStep {
  enum class Kind : std::uint8_t {
    Pass,
    NeedsBody,
    NeedsCheck,  // of `rule`
    Refuse,      // with `status`
  };
  Kind kind = Kind::Pass;
  int status = 0;
  std::string reason;  // for people
  const config::ProxyRule* rule = nullptr;
};

class RuleSet {
 public:
  // Fails naming the rule whose regular expression is malformed.
  static Result<RuleSet> compile(std::vector<config::ProxyRule> rules,
                                 const std::vector<config::Upstream>& upstreams);
  RuleSet() = default;

  bool is_empty(Direction direction) const {
    return !has_rules_[static_cast<std::size_t>(direction)];
  }

  // `body` is empty until all of it is there.
  RuleStep advance(const RuleQuestion& question, std::optional<std::string_view> body,
                   RuleWalk& walk) const;
  // After NeedsCheck: the request may pass it.
  static void note_checked(RuleWalk& walk) { walk.is_checked = true; }

 private:
  struct Rule {
    config::ProxyRule config;
    std::optional<Pattern> body;
    std::optional<Pattern> json;
    std::vector<std::string> json_pointer;
    std::optional<std::size_t> upstream;
  };
  enum class Match : std::uint8_t { No, Yes, Refused };

  Match match_body(const Rule& rule, const RuleQuestion& question, std::string_view body,
                   Captures& captures, RuleStep& refusal) const;
  Match match_json(const Rule& rule, std::string_view body, Captures& captures,
                   RuleStep& refusal) const;

  std::vector<Rule> rules_;
  std::array<bool, 2> has_rules_{};
};

// "$1" and "$0" in `text` become what was found, "$$" a dollar. What a header field cannot hold is
// percent-encoded; at most 1,024 bytes.
std::string expand_captures(std::string_view text, const Captures& captures);

}  // namespace pillion::proxy
