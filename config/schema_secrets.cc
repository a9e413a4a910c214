// Schema of the secrets ambassador's table.
#include "config/secrets.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {

constexpr Rules kPath{.form = Form::AbsolutePath};
constexpr Rules kRequiredPath{.required = true, .form = Form::AbsolutePath};

template<>
const TableSchema& schema_of<AppRole>() {
  static const TableSchema schema =
      TableBuilder<AppRole>("AppRole", "Log in with a role id and a secret id.")
          .field("role_id_file", &AppRole::role_id_file, "File with the role id.", kRequiredPath)
          .field("secret_id_file", &AppRole::secret_id_file, "File with the secret id.",
                 kRequiredPath)
          .field("mount", &AppRole::mount, "Path of the auth method.", {.non_empty = true})
          .field("wrapped", &AppRole::is_wrapped,
                 "The secret id file holds a response-wrapping token.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<VaultAuth>() {
  static const TableSchema schema =
      TableBuilder<VaultAuth>("Vault authentication", "")
          .field("approle", &VaultAuth::approle, "AppRole.")
          .field("token_file", &VaultAuth::token_file, "File with a token.", kPath)
          .exactly_one({"approle", "token_file"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Vault>() {
  static const TableSchema schema =
      TableBuilder<Vault>("Vault", "A server that speaks HashiCorp Vault's API.")
          .field("address", &Vault::address, "Base URL.", {.required = true, .form = Form::HttpUrl})
          .field("namespace", &Vault::namespace_name, "X-Vault-Namespace.", {.non_empty = true})
          .field("ca_file", &Vault::ca_file, "Trusted certificates, PEM.",
                 {.form = Form::AbsolutePath, .computed_default = "the system's"})
          .field("certificate_file", &Vault::certificate_file, "Our certificate, PEM.", kPath)
          .field("key_file", &Vault::key_file, "Our key, PEM.", kPath)
          .field("auth", &Vault::auth, "How to log in.", {.required = true})
          .field("timeout", &Vault::timeout, "Of one request.", {.min = 1})
          .field("retry", &Vault::retry, "After errors.")
          .field("max_connections", &Vault::max_connections, "To the server.",
                 {.min = 1, .max = 1000})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<SecretFile>() {
  static const TableSchema schema =
      TableBuilder<SecretFile>("Secret file", "A file to write.")
          .field("path", &SecretFile::path, "Written atomically, preferably into a tmpfs volume.",
                 kRequiredPath)
          .field("source", &SecretFile::source, "Where the secret comes from.",
                 {.computed_default = "\"vault\"; \"file\" without a [vault] table"})
          .field("secret", &SecretFile::secret,
                 "vault: path below /v1, such as \"secret/data/orders\". file: absolute path of "
                 "the local file.",
                 {.required = true, .non_empty = true})
          .field("field", &SecretFile::field,
                 "vault: field of the secret. file: member of a JSON object, or KEY of a line "
                 "KEY=VALUE; the whole file without it.",
                 {.non_empty = true})
          .field("owner", &SecretFile::owner, "Owner of the file.",
                 {.computed_default = "the app's user"})
          .field("group", &SecretFile::group, "Group of the file.",
                 {.computed_default = "the owner's"})
          .field("mode", &SecretFile::mode, "Permissions.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<VaultProxy>() {
  static const TableSchema schema =
      TableBuilder<VaultProxy>("Vault proxy",
                               "The app's own requests to Vault, with the token added.")
          .field("enabled", &VaultProxy::enabled, "Whether it listens; only with a [vault] table.")
          .field("listen", &VaultProxy::listen, "Address to listen on.")
          .field("require_request_header", &VaultProxy::require_request_header,
                 "Take only requests with `X-Vault-Request: true`, against request forgery.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<SecretsConfig>() {
  static const TableSchema schema =
      TableBuilder<SecretsConfig>("Secrets", "The table of a child with `use = \"secrets\"`.")
          .field("service", &SecretsConfig::service, "Filled in by the supervisor.")
          .field("vault", &SecretsConfig::vault, "The server.")
          .field("file", &SecretsConfig::files, "Files to write.")
          .field("proxy", &SecretsConfig::proxy, "Proxy for the app's own requests.")
          .field("refresh", &SecretsConfig::refresh, "How often static secrets are read again.",
                 {.min = 1000})
          .field("on_unavailable", &SecretsConfig::on_unavailable,
                 "At the first start: wait, fail, or become ready without the secrets.")
          .field("fingerprints", &SecretsConfig::fingerprints,
                 "File with fingerprints of what was issued, for `redact_issued` of logs.",
                 {.form = Form::AbsolutePath,
                  .computed_default = "in the runtime directory, when the service has logs"})
          .field("admin", &SecretsConfig::admin, "Admin.")
          .finish(check_secrets)
          .done();
  return schema;
}

}  // namespace pillion::config
