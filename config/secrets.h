// The table of a child with use = "secrets": which secrets to fetch from where and which files to
// write.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/logs.h"
#include "config/names.h"
#include "config/units.h"

namespace pillion::config {

struct AppRole {
  std::string role_id_file;
  std::string secret_id_file;
  std::string mount = "approle";
  bool is_wrapped = false;  // key `wrapped`: the secret id file holds a wrapping token
  bool operator==(const AppRole&) const = default;
};

// Exactly one is set.
struct VaultAuth {
  std::optional<AppRole> approle;
  std::optional<std::string> token_file;
  bool operator==(const VaultAuth&) const = default;
};

struct Vault {
  std::string address;                        // http:// or https:// URL
  std::optional<std::string> namespace_name;  // key `namespace`
  std::optional<std::string> ca_file;
  std::optional<std::string> certificate_file;
  std::optional<std::string> key_file;
  VaultAuth auth;
  std::chrono::milliseconds timeout{10'000};
  RetryBackoff retry{std::chrono::milliseconds(1'000), std::chrono::milliseconds(300'000)};
  unsigned max_connections = 10;
  bool operator==(const Vault&) const = default;
};

enum class SecretSource { Vault, File };
PILLION_NAMES(SecretSource, {SecretSource::Vault, "vault"}, {SecretSource::File, "file"});

struct SecretFile {
  std::string path;                           // written atomically
  SecretSource source = SecretSource::Vault;  // default "file" when there is no [vault]
  std::string secret;  // vault: "secret/data/orders"; file: absolute path of the local file
  std::optional<std::string> field;  // required for vault; file: a key of a JSON object
  std::optional<UserRef> owner;      // default: the app's user, filled in by the supervisor
  std::optional<GroupRef> group;
  FileMode mode{0400};
  bool operator==(const SecretFile&) const = default;
};

// Adds the token to the app's own requests to Vault.
struct VaultProxy {
  bool enabled = true;
  SocketAddress listen = SocketAddress::of("127.0.0.1:8200");
  bool require_request_header = false;  // X-Vault-Request: true
  bool operator==(const VaultProxy&) const = default;
};

enum class OnUnavailable { Wait, Fail, StartDegraded };
PILLION_NAMES(OnUnavailable, {OnUnavailable::Wait, "wait"}, {OnUnavailable::Fail, "fail"},
              {OnUnavailable::StartDegraded, "start-degraded"});

struct SecretsConfig {
  std::string service;  // filled in by the supervisor
  std::optional<Vault> vault;
  std::vector<SecretFile> files;  // key `file`
  VaultProxy proxy;               // only with [vault]
  std::chrono::milliseconds refresh{300'000};
  std::optional<std::string> fingerprints;  // file for those who keep secrets out of logs
  OnUnavailable on_unavailable = OnUnavailable::Wait;
  ComponentAdmin admin;
  bool operator==(const SecretsConfig&) const = default;
};

}  // namespace pillion::config
