// What we log in with: an AppRole (its two files) or a token file. Files are read anew for every
// login, so that they may be rotated; a file that changed is a reason to try again at once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ambassadors/secrets/file_write.h"
#include "ambassadors/secrets/secret_data.h"
#include "config/secrets.h"
#include "runtime/result.h"

namespace pillion::secrets {

class Credential {
 public:
  explicit Credential(const config::VaultAuth& auth) : auth_(auth) {}

  bool is_token_file() const { return auth_.token_file.has_value(); }
  bool is_wrapped() const { return auth_.approle && auth_.approle->is_wrapped; }

  // "auth/approle/login"
  std::string login_path() const;
  // The content of the one file without surrounding blanks; an error when it is empty.
  Result<SecretText> read_token() const;
  Result<SecretText> read_role_id() const;
  // The secret id, or the wrapping token that holds it.
  Result<SecretText> read_secret_id() const;
  // The login's JSON body.
  static SecretText login_body(const SecretText& role_id, const SecretText& secret_id);
  // Whether `path` (creation_path of a wrapping token) is where this role's secret ids come from:
  // a token that wraps something else was slipped in.
  bool is_creation_path(const std::string& path) const;

  // Remembers what the files are now; `has_changed` compares.
  void remember();
  bool has_changed() const;

 private:
  std::vector<std::optional<FileStamp>> stamps() const;

  config::VaultAuth auth_;
  std::vector<std::optional<FileStamp>> remembered_;
};

}  // namespace pillion::secrets
