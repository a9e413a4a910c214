// Secrets from Vault: reads every wanted path when there is a token, again after the refresh period
// (or before a lease ends), and after a failure at a pace that the error table sets. Each path is
// read once, however many files come from it; what was read is kept by nobody here.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ambassadors/secrets/alarm.h"
#include "ambassadors/secrets/secret_data.h"
#include "ambassadors/secrets/timing.h"
#include "ambassadors/secrets/token_session.h"
#include "ambassadors/secrets/vault_api.h"

namespace pillion::secrets {

class VaultSource {
 public:
  struct Callbacks {
    // False asks to read the secret again soon.
    std::function<bool(const SecretId&, const SecretData&)> on_data;
    std::function<void(const SecretId&, const Error&)> on_failure;
    std::function<void()> on_session_change;  // a token was had, or could not be
  };

  // `clock` and `registry` must outlive it. Callbacks never run before start() returns.
  VaultSource(Loop& loop, const Clock& clock, const config::Vault& vault, Duration refresh,
              Registry& registry, Callbacks callbacks);
  ~VaultSource();
  VaultSource(const VaultSource&) = delete;
  VaultSource& operator=(const VaultSource&) = delete;

  void start() { session_.start(); }
  // Sets what is read; paths already known are read again at once.
  void apply(const std::vector<std::string>& paths, Duration refresh);

  VaultApi& api() { return api_; }
  TokenSession& session() { return session_; }

 private:
  struct Read;

  void begin(Read& read);
  void on_answer(Read& read, const VaultAnswer& answer);
  void on_denied(Read& read, const SecretText& token, const VaultAnswer& answer);
  void use(Read& read, const VaultAnswer& answer);
  void fail_read(Read& read, const std::string& why, Duration wait);
  void on_token();
  void on_login_failure(const Error& why);
  void on_check_passed();

  Loop& loop_;
  const Clock& clock_;
  Duration refresh_;
  Random random_;
  Callbacks callbacks_;
  VaultApi api_;
  TokenSession session_;
  std::map<std::string, std::unique_ptr<Read>> reads_;
};

}  // namespace pillion::secrets
