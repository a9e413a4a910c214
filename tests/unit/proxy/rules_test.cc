// What rules see of a request and what they decide: paths, JSON values, expressions, walks.
#include <catch2/catch.hpp>

#include "proxy/rules/json_value.h"
#include "proxy/rules/path.h"
#include "proxy/rules/rule_set.h"

using namespace pillion::proxy;
namespace config = pillion::config;

namespace {

config::ProxyRule make_rule(const std::string& name) {
  config::ProxyRule rule;
  rule.name = name;
  return rule;
}

RuleSet compile(std::vector<config::ProxyRule> rules) {
  auto set = RuleSet::compile(std::move(rules), {});
  REQUIRE(set);
  return std::move(*set);
}

RuleQuestion post(std::string_view path) {
  RuleQuestion question;
  question.app_port = 8080;
  question.method = "POST";
  question.authority = "Orders.test:8080";
  question.path = path;
  question.content_type = "application/json; charset=utf-8";
  return question;
}

RuleStep ask(const RuleSet& set, const RuleQuestion& question,
             std::optional<std::string_view> body = "") {
  RuleWalk walk;
  return set.advance(question, body, walk);
}

JsonValue find(std::string_view document, std::string_view pointer) {
  return find_json_value(document, split_json_pointer(pointer));
}

}  // namespace

TEST_CASE("a path has one reading, or none") {
  const std::pair<std::string_view, std::optional<std::string>> cases[] = {
      {"/", "/"},
      {"/a/b?x=/../c", "/a/b"},
      {"//a///b/", "/a/b/"},
      {"/a/./b/../c", "/a/c"},
      {"/%61dmin", "/admin"},
      {"/admin;v=1/x;y", "/admin/x"},
      {"/a/%2e%2e/b", "/b"},
      {"*", "*"},
      {"/../etc", {}},
      {"/a/%2e%2e/%2e%2e/b", {}},
      {"/a%2fb", {}},
      {"/a%5Cb", {}},
      {"/a\\b", {}},
      {"/a%00", {}},
      {"/a%25 2f", {}},
      {"/a%zz", {}},
      {"/a%2", {}},
      {"/a/..;/b", {}},
      {"/a/.;x", {}},
      {"/a%3b/b", {}},
  };
  for (const auto& [path, expected] : cases) {
    CAPTURE(path);
    CHECK(normalise_path(path) == expected);
  }
}

TEST_CASE("a pattern is a path, or all that is below one") {
  CHECK(matches_path("/admin", "/admin"));
  CHECK(matches_path("/admin", "/admin/"));
  CHECK_FALSE(matches_path("/admin", "/admin/x"));
  CHECK_FALSE(matches_path("/admin", "/administrator"));
  CHECK(matches_path("/admin/*", "/admin"));
  CHECK(matches_path("/admin/*", "/admin/x/y"));
  CHECK_FALSE(matches_path("/admin/*", "/administrator"));
  CHECK(matches_path("/*", "/"));
}

TEST_CASE("a JSON value is found by its pointer") {
  using Kind = JsonValue::Kind;
  const std::string_view document =
      R"({"user": {"role": "admin", "a/b": 1, "tags": [true, {"x": null}], "n": 1.50}, "z": "é"})";
  CHECK(find(document, "/user/role").text == "admin");
  CHECK(find(document, "/user/a~1b").text == "1");
  CHECK(find(document, "/user/tags/0").text == "true");
  CHECK(find(document, "/user/tags/1/x").text == "null");
  CHECK(find(document, "/user/n").text == "1.50");
  CHECK(find(document, "/z").text == "é");
  CHECK(find(document, "/user").kind == Kind::Composite);
  CHECK(find(document, "").kind == Kind::Composite);
  CHECK(find("7", "").text == "7");
  CHECK(find(document, "/user/tags/2").kind == Kind::Absent);
  CHECK(find(document, "/role").kind == Kind::Absent);
  CHECK(find(document, "/user/role/x").kind == Kind::Absent);
}

TEST_CASE("a document that readers could take differently has no value") {
  using Kind = JsonValue::Kind;
  CHECK(find(R"({"role": "user", "role": "admin"})", "/role").kind == Kind::Ambiguous);
  CHECK(find(R"({"u": {"role": "user"}, "u": {}})", "/u/role").kind == Kind::Ambiguous);
  CHECK(find(R"({"x": 1, "x": 2, "role": "user"})", "/role").text == "user");
  for (const char* malformed : {"", "{", "{\"role\": \"user\"", "{'role': 1}", "{\"role\": 1} x",
                                "[1,]", "{\"a\":\"\x01\"}"}) {
    CAPTURE(malformed);
    CHECK(find(malformed, "/role").kind == Kind::Malformed);
  }
  CHECK(find(std::string(300, '[') + std::string(300, ']'), "/0").kind == Kind::Malformed);
}

TEST_CASE("every condition of a rule must hold, one element of a list is enough") {
  config::ProxyRule rule = make_rule("no");
  rule.action = config::RuleAction::Deny;
  rule.ports = {8080};
  rule.methods = {"PUT", "POST"};
  rule.hosts = {"ORDERS.test"};
  rule.paths = {"/admin/*"};
  rule.content_types = {"Application/*"};
  const RuleSet set = compile({rule});
  CHECK(ask(set, post("/admin/x")).kind == RuleStep::Kind::Refuse);
  CHECK(ask(set, post("/x/../admin")).kind == RuleStep::Kind::Refuse);
  CHECK(ask(set, post("/open")).kind == RuleStep::Kind::Pass);
  RuleQuestion question = post("/admin/x");
  question.method = "GET";
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
  question = post("/admin/x");
  question.app_port = 9;
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
  question = post("/admin/x");
  question.authority = "other.test";
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
  question = post("/admin/x");
  question.content_type = "text/plain";
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
  question = post("/admin/x");
  question.direction = Direction::Outbound;
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
}

TEST_CASE("a rule's host is a name, or every name below one") {
  config::ProxyRule rule = make_rule("no");
  rule.action = config::RuleAction::Deny;
  rule.hosts = {"*.Orders.test", "admin.test"};
  const RuleSet set = compile({rule});
  const auto kind_at = [&](std::string_view authority) {
    RuleQuestion question = post("/");
    question.authority = authority;
    return ask(set, question).kind;
  };
  for (const char* host : {"a.orders.test", "A.B.ORDERS.TEST:80", "admin.test", "admin.test."}) {
    CAPTURE(host);
    CHECK(kind_at(host) == RuleStep::Kind::Refuse);
  }
  for (const char* host : {"orders.test", "aorders.test", ".orders.test", "a.admin.test"}) {
    CAPTURE(host);
    CHECK(kind_at(host) == RuleStep::Kind::Pass);
  }
}

TEST_CASE("a path that can be read in several ways is refused where rules depend on it") {
  config::ProxyRule rule = make_rule("no");
  rule.action = config::RuleAction::Deny;
  rule.paths = {"/admin"};
  CHECK(ask(compile({rule}), post("/x%2f..%2fadmin")).status == 400);
  rule.paths = {};
  rule.methods = {"GET"};
  CHECK(ask(compile({rule}), post("/x%2f..%2fadmin")).kind == RuleStep::Kind::Pass);
}

TEST_CASE("an allowed peer passes and a last rule denies the others") {
  config::ProxyRule allow = make_rule("shop");
  allow.peers = {"spiffe://prod/shop", "spiffe://ops"};
  allow.action = config::RuleAction::Allow;
  config::ProxyRule deny = make_rule("rest");
  deny.action = config::RuleAction::Deny;
  deny.status = 404;
  const RuleSet set = compile({allow, deny});
  RuleQuestion question = post("/");
  CHECK(ask(set, question).status == 404);
  CHECK(ask(set, question).reason == "the rule rest denies it");
  question.peer = "spiffe://prod/shop";
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
  question.peer = "spiffe://ops/anything";
  CHECK(ask(set, question).kind == RuleStep::Kind::Pass);
  question.peer = "spiffe://prod/shopping";
  CHECK(ask(set, question).status == 404);
}

TEST_CASE("what matched in the body becomes a header, and the body is asked for first") {
  config::ProxyRule rule = make_rule("tenant");
  rule.body_matches = "tenant=([a-z]+)\\b";
  rule.set_headers = {{"X-Tenant", "$1"}, {"X-Raw", "$$0 $0\x7f"}};
  const RuleSet set = compile({rule});
  RuleWalk walk;
  CHECK(set.advance(post("/"), std::nullopt, walk).kind == RuleStep::Kind::NeedsBody);
  CHECK(set.advance(post("/"), "a=1&tenant=acme&b=2", walk).kind == RuleStep::Kind::Pass);
  REQUIRE(walk.set_headers.size() == 2);
  CHECK(walk.set_headers[0] == std::pair<std::string, std::string>("X-Raw", "$0 tenant=acme%7F"));
  CHECK(walk.set_headers[1] == std::pair<std::string, std::string>("X-Tenant", "acme"));
}

TEST_CASE("a captured value cannot smuggle a line into a head") {
  Captures captures;
  captures[0] = "a\r\nX-Admin: 1";
  CHECK(expand_captures("$0", captures) == "a%0D%0AX-Admin: 1");
  captures[0] = std::string(5000, 'x');
  CHECK(expand_captures("$0", captures).size() <= 1024);
}

TEST_CASE("later rules replace the headers of earlier ones") {
  config::ProxyRule first = make_rule("a");
  first.set_headers = {{"x-kind", "one"}};
  config::ProxyRule second = make_rule("b");
  second.set_headers = {{"X-Kind", "two"}};
  RuleWalk walk;
  CHECK(compile({first, second}).advance(post("/"), "", walk).kind == RuleStep::Kind::Pass);
  REQUIRE(walk.set_headers.size() == 1);
  CHECK(walk.set_headers[0].second == "two");
}

TEST_CASE("a JSON value is tested, and what is no JSON is refused") {
  config::ProxyRule rule = make_rule("role");
  rule.json_pointer = "/user/role";
  rule.json_matches = "^admin$";
  rule.action = config::RuleAction::Deny;
  const RuleSet set = compile({rule});
  CHECK(ask(set, post("/"), R"({"user": {"role": "admin"}})").status == 403);
  CHECK(ask(set, post("/"), R"({"user": {"role": "adm\u0069n"}})").status == 403);
  CHECK(ask(set, post("/"), R"({"user": {"role": "user"}})").kind == RuleStep::Kind::Pass);
  CHECK(ask(set, post("/"), R"({"user": {}})").kind == RuleStep::Kind::Pass);
  CHECK(ask(set, post("/"), "").kind == RuleStep::Kind::Pass);
  CHECK(ask(set, post("/"), "{").status == 400);
  RuleQuestion packed = post("/");
  packed.content_encoding = "gzip";
  CHECK(ask(set, packed, "\x1f\x8b").status == 415);
}

TEST_CASE("an expression that would search without end is cut off") {
  config::ProxyRule rule = make_rule("slow");
  rule.body_matches = "(a+)+$";
  rule.action = config::RuleAction::Deny;
  CHECK(ask(compile({rule}), post("/"), std::string(200, 'a') + "b").status == 400);
}

TEST_CASE("a malformed expression names its rule") {
  config::ProxyRule rule = make_rule("bad");
  rule.body_matches = "(";
  const auto set = RuleSet::compile({rule}, {});
  REQUIRE_FALSE(set);
  CHECK(set.error().message().find("rule bad: the regular expression \"(\"") == 0);
}

TEST_CASE("a walk goes on behind an external check") {
  config::ProxyRule check = make_rule("check");
  check.check = config::ExternalCheck{};
  config::ProxyRule deny = make_rule("deny");
  deny.action = config::RuleAction::Deny;
  const RuleSet set = compile({check, deny});
  RuleWalk walk;
  const RuleStep step = set.advance(post("/"), "", walk);
  CHECK(step.kind == RuleStep::Kind::NeedsCheck);
  CHECK(step.rule->name == "check");
  RuleSet::note_checked(walk);
  CHECK(set.advance(post("/"), "", walk).reason == "the rule deny denies it");
}
