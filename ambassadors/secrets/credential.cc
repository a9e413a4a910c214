#include "ambassadors/secrets/credential.h"

#include "runtime/fd.h"
#include "runtime/json_text.h"

namespace pillion::secrets {
namespace {

constexpr std::size_t kCredentialBytesMax = 64u << 10;

Result<SecretText> read_trimmed(const std::string& path) {
  auto content = read_file(path, kCredentialBytesMax);
  if (!content) return fail(content.error());
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = content->find_first_not_of(kBlank);
  if (first == std::string::npos) return fail(path + " is empty");
  const auto last = content->find_last_not_of(kBlank);
  SecretText text(std::string_view(*content).substr(first, last - first + 1));
  wipe(*content);
  return text;
}

}  // namespace

std::string Credential::login_path() const { return "auth/" + auth_.approle->mount + "/login"; }

Result<SecretText> Credential::read_token() const { return read_trimmed(*auth_.token_file); }
Result<SecretText> Credential::read_role_id() const {
  return read_trimmed(auth_.approle->role_id_file);
}
Result<SecretText> Credential::read_secret_id() const {
  return read_trimmed(auth_.approle->secret_id_file);
}

SecretText Credential::login_body(const SecretText& role_id, const SecretText& secret_id) {
  std::string body = "{\"role_id\":";
  append_json_string(body, role_id.reveal());
  body += ",\"secret_id\":";
  append_json_string(body, secret_id.reveal());
  body += '}';
  return SecretText::take(body);
}

bool Credential::is_creation_path(const std::string& path) const {
  return path.starts_with("auth/" + auth_.approle->mount + "/role/") &&
         path.ends_with("/secret-id");
}

std::vector<std::optional<FileStamp>> Credential::stamps() const {
  if (auth_.token_file) return {stamp_of(*auth_.token_file)};
  return {stamp_of(auth_.approle->role_id_file), stamp_of(auth_.approle->secret_id_file)};
}

void Credential::remember() { remembered_ = stamps(); }
bool Credential::has_changed() const { return stamps() != remembered_; }

}  // namespace pillion::secrets
