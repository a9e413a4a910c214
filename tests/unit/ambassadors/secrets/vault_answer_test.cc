// The error table, the parsers of Vault's answers, and what the local Vault address refuses.
#include "ambassadors/secrets/vault_answer.h"

#include <catch2/catch.hpp>

#include "ambassadors/secrets/vault_proxy.h"

using namespace pillion;
using namespace pillion::secrets;
using namespace std::chrono_literals;

namespace {

VaultAnswer answer(int status, const std::string& body) {
  VaultAnswer made;
  made.status = status;
  made.body = SecretText(body);
  return made;
}

}  // namespace

TEST_CASE("the error table: what each status means for each operation") {
  using O = Operation;
  using R = Reaction;
  struct Row {
    int status;
    R login, renew, lookup, read;
  };
  const Row rows[] = {
      {0, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
      {200, R::Use, R::Use, R::Use, R::Use},
      {204, R::Use, R::Use, R::Use, R::Use},
      {307, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
      {400, R::BadCredential, R::NotRenewable, R::BackOff, R::BackOff},
      {401, R::BadCredential, R::TokenDead, R::TokenDead, R::DoubtToken},
      {403, R::BadCredential, R::TokenDead, R::TokenDead, R::DoubtToken},
      {404, R::BackOff, R::BackOff, R::BackOff, R::Missing},
      {405, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
      {412, R::RetrySoon, R::RetrySoon, R::RetrySoon, R::RetrySoon},
      {429, R::Throttled, R::Throttled, R::Throttled, R::Throttled},
      {472, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
      {500, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
      {502, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
      {503, R::BackOff, R::BackOff, R::BackOff, R::BackOff},
  };
  for (const Row& row : rows) {
    INFO(row.status);
    CHECK(choose_reaction(O::Login, row.status) == row.login);
    CHECK(choose_reaction(O::Renew, row.status) == row.renew);
    CHECK(choose_reaction(O::Lookup, row.status) == row.lookup);
    CHECK(choose_reaction(O::Read, row.status) == row.read);
  }
}

TEST_CASE("an answer is described by status and Vault's own words, printable and short") {
  CHECK(describe(answer(503, R"({"errors":["Vault is sealed"]})")) ==
        "Vault answered 503: Vault is sealed");
  CHECK(describe(answer(500, R"({"errors":["a\nb","c"]})")) == "Vault answered 500: a b; c");
  CHECK(describe(answer(502, "<html>")) == "Vault answered 502");
  CHECK(describe(answer(403, R"({"errors":[1,{}]})")) == "Vault answered 403");
  CHECK(describe(answer(307, "")) ==
        "Vault answered 307 (a redirect is not followed: set `address` to the active server)");
  CHECK(describe(answer(500, R"({"errors":[")" + std::string(5000, 'x') + R"("]})")).size() < 400);
  VaultAnswer none;
  none.failure = "cannot POST http://127.0.0.1:1/v1/x: Connection refused";
  CHECK(describe(none) == none.failure);
}

TEST_CASE("a login gives token, life and whether it can be renewed") {
  const auto token = parse_auth(
      R"({"auth":{"client_token":"s.abc","accessor":"acc","lease_duration":3600,"renewable":true}})");
  REQUIRE(token);
  CHECK(token->text.reveal() == "s.abc");
  CHECK(token->accessor == "acc");
  CHECK(token->ttl == 3600s);
  CHECK(token->is_renewable);

  CHECK(parse_auth(R"({"auth":{"client_token":"t","lease_duration":-5}})")->ttl == 0s);
  CHECK(parse_auth(R"({"auth":{"lease_duration":1e300}})")->ttl == 3660 * 24h);
  CHECK(parse_auth(R"({"auth":null})").error().message() == "Vault's answer holds no `auth`");
  CHECK(parse_auth("nonsense").error().message() == "Vault's answer is not valid JSON");
  CHECK(parse_auth("[]").error().message() == "Vault's answer holds no `auth`");
  CHECK(parse_auth("{}").error().message() == "Vault's answer holds no `auth`");
}

TEST_CASE("a look-up gives life and renewability, never a text") {
  const auto token = parse_lookup(R"({"data":{"id":"s.abc","ttl":30,"renewable":false}})");
  REQUIRE(token);
  CHECK(token->text.is_empty());
  CHECK(token->ttl == 30s);
  CHECK_FALSE(token->is_renewable);
  CHECK_FALSE(parse_lookup("{}"));
}

TEST_CASE("KV v2, KV v1 and leased secrets are told apart") {
  const auto v2 = parse_secret(
      R"({"lease_duration":0,"data":{"data":{"a":"x","n":5},"metadata":{"version":7}}})");
  REQUIRE(v2);
  CHECK(v2->version == 7);
  CHECK(v2->fields.at("a").reveal() == "x");
  CHECK(v2->fields.at("n").reveal() == "5");
  CHECK_FALSE(v2->lease);

  const auto v1 = parse_secret(R"({"lease_id":"","lease_duration":2764800,"data":{"a":"x"}})");
  REQUIRE(v1);
  CHECK(v1->version == 0);
  CHECK(v1->fields.at("a").reveal() == "x");
  CHECK_FALSE(v1->lease);

  const auto leased = parse_secret(
      R"({"lease_id":"database/creds/x/1","lease_duration":60,"data":{"username":"u"}})");
  REQUIRE(leased);
  CHECK(leased->lease == 60s);

  // A KV v1 secret may have fields of these names.
  const auto misleading = parse_secret(R"({"data":{"data":"d","metadata":"m"}})");
  REQUIRE(misleading);
  CHECK(misleading->fields.at("data").reveal() == "d");
}

TEST_CASE("a deleted version is told from a missing secret") {
  const std::string deleted =
      R"({"data":{"data":null,"metadata":{"version":3,"deletion_time":"2024-01-15T14:32:01Z","destroyed":false}}})";
  CHECK(describe_deleted(deleted) == "version 3 was deleted at 2024-01-15T14:32:01Z");
  CHECK(describe_deleted(R"({"data":{"data":null,"metadata":{"version":3,"destroyed":true}}})") ==
        "version 3 was destroyed");
  CHECK(describe_deleted(R"({"errors":[]})").empty());
  CHECK(parse_secret(deleted).error().message() == "the current version is deleted");
}

TEST_CASE("documents that are no secret are errors, however deep they nest") {
  CHECK_FALSE(parse_secret(""));
  CHECK_FALSE(parse_secret("null"));
  CHECK_FALSE(parse_secret(R"({"data":null})"));
  CHECK_FALSE(parse_secret(R"({"data":{"data":null,"metadata":{"version":1}}})"));
  CHECK_FALSE(parse_secret(std::string(4'000'000, '[')));
  CHECK(parse_secret(
      R"({"data":{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}})"));
}

TEST_CASE("the app may not end our token, however it writes the path") {
  for (const char* path :
       {"/v1/auth/token/revoke-self", "/v1/auth/token/revoke-self/",
        "/v1/team/auth/token/revoke-self", "/v1//auth/token/revoke-self",
        "/v1/auth/token/revoke%2dself", "/v1/auth/token/%72evoke-self",
        "/v1/auth%2ftoken/revoke-self", "/v1/auth/token/x/../revoke-self",
        "/v1/auth/token/./revoke-self", "/v1/auth/token/%2e/x", "/v1/secret/%", "/v1/secret/%zz",
        "/v1/a%00b", "/v1/a%0ab", "/v1/%252e%252e/x", "/v2/x", "/", "http://elsewhere/v1/x"}) {
    INFO(path);
    CHECK(is_path_refused(path));
  }
  for (const char* path : {"/v1/secret/data/orders", "/v1/secret/data/a%20b", "/v1/sys/health",
                           "/v1/auth/token/lookup-self", "/v1/secret/data/..hidden"}) {
    INFO(path);
    CHECK_FALSE(is_path_refused(path));
  }
}

TEST_CASE("only end-to-end headers are sent on, and no token of the app's") {
  const HttpHeaders headers = {{"Host", "127.0.0.1:8200"},
                               {"x-vault-token", "mine"},
                               {"Authorization", "Bearer mine"},
                               {"Connection", "close, X-Hop"},
                               {"x-hop", "1"},
                               {"Transfer-Encoding", "chunked"},
                               {"Content-Length", "3"},
                               {"X-Vault-Wrap-TTL", "60s"},
                               {"TE", "trailers"},
                               {"Expect", "100-continue"}};
  const auto forwarded = forwarded_headers(headers);
  REQUIRE(forwarded.size() == 1);
  CHECK(forwarded[0].name == "X-Vault-Wrap-TTL");
  CHECK(forwarded[0].value == "60s");
}
