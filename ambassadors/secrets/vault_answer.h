// What Vault's answers mean: the error table, and parsers of the few documents that are read. Pure;
// every text here came over the network.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "ambassadors/secrets/secret_data.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace pillion::secrets {

struct VaultAnswer {
  int status = 0;       // 0: no answer was had
  SecretText body;      // of the answer
  std::string failure;  // why there is no answer
  Duration retry_after{0};

  bool is_success() const { return status >= 200 && status < 300; }
};

enum class Operation { Login, Renew, Lookup, Read };

enum class Reaction {
  Use,
  BadCredential,  // the login was refused: back off, watch the credential's file
  DoubtToken,     // 403 of a read: look the token up; dead → log in, else the policy forbids it
  TokenDead,      // the token is not valid any more: log in
  NotRenewable,   // keep the token to its end, then log in
  Missing,        // no such secret: keep the last good one
  RetrySoon,      // 412: replication has not caught up
  Throttled,      // 429: as Retry-After says
  BackOff,        // down, sealed, or anything not understood
};

Reaction choose_reaction(Operation operation, int status);

// "Vault answered 503: Vault is sealed", or the reason why it did not answer. At most 300 printable
// characters of what Vault said.
std::string describe(const VaultAnswer& answer);

struct Token {
  SecretText text;
  std::string accessor;         // not a secret: names the token in Vault's audit log
  std::chrono::seconds ttl{0};  // 0: it never expires
  bool is_renewable = false;
};

// Of a login or of renew-self: `auth`. The text may be empty in the latter.
Result<Token> parse_auth(const std::string& body);
// Of lookup-self: `data`. The text stays empty.
Result<Token> parse_lookup(const std::string& body);
// KV v2 (data.data and data.metadata), KV v1 and everything else (data).
Result<SecretData> parse_secret(const std::string& body);
// Of a 404 of KV v2 that tells of a deleted version: "version 3 was deleted at …"; else empty.
std::string describe_deleted(const std::string& body);
// The member `data.<name>` as text.
Result<SecretText> parse_data_member(const std::string& body, const std::string& name);

}  // namespace pillion::secrets
