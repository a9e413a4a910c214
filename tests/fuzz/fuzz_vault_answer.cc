// What Vault answers and what local secret files hold: parsed without a crash, whatever it is.
#include <cstddef>
#include <cstdint>
#include <string>

#include "ambassadors/secrets/field_text.h"
#include "ambassadors/secrets/vault_answer.h"
#include "ambassadors/secrets/vault_proxy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pillion::secrets;
  const std::string text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(parse_auth(text));
  static_cast<void>(parse_lookup(text));
  static_cast<void>(parse_secret(text));
  static_cast<void>(describe_deleted(text));
  static_cast<void>(parse_fields(text));
  static_cast<void>(is_path_refused(text));
  VaultAnswer answer;
  answer.status = 500;
  answer.body = SecretText(text);
  static_cast<void>(describe(answer));
  return 0;
}
