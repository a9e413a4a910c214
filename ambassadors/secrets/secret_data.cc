#include "ambassadors/secrets/secret_data.h"

#include <cstring>

namespace pillion::secrets {

void wipe(std::string& text) {
  text.resize(text.capacity());
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

SecretText SecretText::take(std::string& text) {
  SecretText taken;
  taken.text_.swap(text);
  wipe(text);
  return taken;
}

}  // namespace pillion::secrets
