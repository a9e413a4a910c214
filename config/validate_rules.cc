// Checks of the proxy's rules: names that must exist, conditions and effects that fit each other.
#include <algorithm>

#include "config/validate.h"

namespace pillion::config {
namespace {

std::string tick(std::string_view name) { return "`" + std::string(name) + "`"; }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

bool is_token(std::string_view text) {  // RFC 9110 §5.6.2
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return std::isalnum(c) || kMarks.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// Fields by which messages are framed or routed: the proxy writes them itself.
bool is_own_field(std::string_view name) {
  constexpr std::string_view kOwn[] = {"host",       "content-length", "transfer-encoding",
                                       "connection", "upgrade",        "te",
                                       "trailer",    "keep-alive",     "expect",
                                       "via",        "x-request-id",   "x-forwarded-client-cert"};
  return std::any_of(std::begin(kOwn), std::end(kOwn),
                     [&](std::string_view own) { return equals_ignoring_case(own, name); });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

class RuleCheck {
 public:
  RuleCheck(Reader& reader, const Node& node, const ProxyConfig& proxy, const ProxyRule& rule)
      : reader_(reader), node_(node), proxy_(proxy), rule_(rule) {}

  void run() {
    check_conditions();
    check_effects();
    if (rule_.check) check_external();
  }

 private:
  Position at(const std::string& key) const {
    return position_of(node_, "rule." + rule_.name + (key.empty() ? "" : "." + key));
  }
  void check_conditions();
  void check_effects();
  void check_external();
  void check_field_name(const std::string& key, const std::string& name);

  Reader& reader_;
  const Node& node_;
  const ProxyConfig& proxy_;
  const ProxyRule& rule_;
};

void RuleCheck::check_conditions() {
  if (!rule_.ports.empty() && rule_.side == TrafficSide::Outbound) {
    reader_.error(at("ports"),
                  "`ports` are those of the app, and the rule is for outbound requests");
  }
  if (!rule_.peers.empty() && rule_.side == TrafficSide::Outbound) {
    reader_.error(at("peers"),
                  "`peers` are clients of the app, and the rule is for outbound requests");
  }
  for (std::size_t i = 0; i < rule_.paths.size(); ++i) {
    const std::string& path = rule_.paths[i];
    const std::size_t star = path.find('*');
    const bool is_prefix = star == path.size() - 1 && path.ends_with("/*");
    if (path.starts_with('/') && (star == std::string::npos || is_prefix) &&
        path.find('?') == std::string::npos) {
      continue;
    }
    reader_.error(at("paths." + std::to_string(i)), "`paths` holds \"" + path + "\"",
                  {"a path is \"/exact\" or \"/prefix/*\", without a query"});
  }
  for (std::size_t i = 0; i < rule_.methods.size(); ++i) {
    if (is_token(rule_.methods[i])) continue;
    reader_.error(at("methods." + std::to_string(i)),
                  "\"" + rule_.methods[i] + "\" is not a method of HTTP");
  }
  if (rule_.json_pointer && !rule_.json_pointer->empty() && !rule_.json_pointer->starts_with('/')) {
    reader_.error(at("json_pointer"), "`json_pointer` begins with \"/\"",
                  {"such as \"/user/role\"; \"\" is the whole document"});
  }
  if (rule_.json_matches && !rule_.json_pointer) {
    reader_.missing(at("json_matches"),
                    "`json_matches` needs `json_pointer`, the place of the value");
  }
}

void RuleCheck::check_field_name(const std::string& key, const std::string& name) {
  if (!is_token(name)) {
    reader_.error(at(key), "\"" + name + "\" is not the name of a header field");
  } else if (is_own_field(name)) {
    reader_.error(at(key), "the proxy writes the field " + tick(name) + " itself");
  }
}

void RuleCheck::check_effects() {
  for (const auto& [name, value] : rule_.set_headers) {
    check_field_name("set_headers." + name, name);
    if (has_control(value)) {
      reader_.error(at("set_headers." + name), "a header field holds no control characters");
    }
  }
  if (!rule_.upstream.empty() && proxy_.find_upstream(rule_.upstream) == nullptr) {
    reader_.missing(at("upstream"), "there is no upstream " + tick(rule_.upstream));
  }
  const bool has_effect = !rule_.set_headers.empty() || !rule_.upstream.empty() || rule_.check;
  if (rule_.action == RuleAction::Continue && !has_effect) {
    reader_.missing(at(""), "the rule " + tick(rule_.name) + " does nothing",
                    {"give it `action`, `set_headers`, `upstream` or `check`"});
  }
  if (rule_.action == RuleAction::Deny && has_effect) {
    reader_.error(at("action"), "what is denied goes nowhere",
                  {"`set_headers`, `upstream` and `check` have no meaning beside \"deny\""});
  }
}

void RuleCheck::check_external() {
  const Upstream* upstream = proxy_.find_upstream(rule_.check->upstream);
  if (upstream == nullptr) {
    reader_.missing(at("check.upstream"), "there is no upstream " + tick(rule_.check->upstream));
  } else if (upstream->protocol == ProxyProtocol::Grpc) {
    reader_.error(
        at("check.upstream"),
        "the upstream " + tick(upstream->name) + " speaks gRPC, and a check is a plain POST",
        {"a service that answers it has the `protocol` \"http\" or \"http2\""});
  } else if (upstream->protocol == ProxyProtocol::Tcp || upstream->protocol == ProxyProtocol::Tls) {
    reader_.error(at("check.upstream"),
                  "the upstream " + tick(upstream->name) + " does not speak HTTP",
                  {"its `protocol` must be \"http\" or \"http2\"; a table `tls` adds TLS"});
  }
  if (!rule_.check->path.starts_with('/') || has_control(rule_.check->path) ||
      rule_.check->path.find(' ') != std::string::npos) {
    reader_.error(at("check.path"), "`path` begins with \"/\" and holds no spaces");
  }
  for (const std::string& name : rule_.check->take_headers) {
    check_field_name("check.take_headers", name);
  }
}

}  // namespace

void check_rules(Reader& reader, const Node& node, const ProxyConfig& proxy) {
  for (const ProxyRule& rule : proxy.rules) RuleCheck(reader, node, proxy, rule).run();
}

}  // namespace pillion::config
