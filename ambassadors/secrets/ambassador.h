// The secrets ambassador as a whole: sources on one side, files and the local Vault address on the
// other, readiness, admin and the end in between. Owns everything below it; lives on one loop.
//
// Ready (READY=1, /ready 200) when every file has been written once and, with [vault], a login has
// succeeded; STATUS= says meanwhile which secret is waited for and why. Never takes a file back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ambassadors/secrets/file_source.h"
#include "ambassadors/secrets/secret_files.h"
#include "ambassadors/secrets/vault_proxy.h"
#include "ambassadors/secrets/vault_source.h"
#include "config/secrets.h"
#include "runtime/clock.h"
#include "runtime/component.h"
#include "runtime/http_server.h"
#include "runtime/listeners.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace pillion::secrets {

class Ambassador {
 public:
  struct Inputs {
    config::SecretsConfig config;
    InheritedListeners listeners;
    // Reads the configuration anew; empty (after saying why) when it is not valid.
    std::function<std::optional<config::SecretsConfig>()> reload;
  };

  // Opens the listeners; an error means that a port could not be had.
  static Result<std::unique_ptr<Ambassador>> create(Loop& loop, Inputs inputs);
  ~Ambassador();

  // Runs the loop until drained. Returns the exit code: 0, or 71 when on_unavailable is "fail" and
  // a secret could not be had at the start.
  int run();

 private:
  Ambassador(Loop& loop, Inputs inputs);
  Result<void> open_listeners();
  void add_admin_routes();
  void apply();
  void apply_sources();
  void apply_vault();
  void reload();
  bool on_data(const SecretId& id, const SecretData& data);
  void on_failure(const SecretId& id, const Error& why);
  void review_readiness();
  void become_ready();
  std::string waiting_text();
  bool is_waiting_for_login();
  std::string status_json();
  void begin_drain();
  void stop();

  Loop& loop_;
  Inputs inputs_;
  SystemClock clock_;
  Registry registry_;
  IssuedValues issued_;
  SecretFiles files_;
  FileSource file_source_;
  VaultProxy proxy_;
  std::unique_ptr<VaultSource> vault_;       // only with [vault]
  std::optional<config::Vault> vault_used_;  // what it was made from
  HttpServer admin_;
  HttpServer proxy_server_;
  Component component_;
  Timer refresh_;
  bool is_ready_ = false;
  int exit_code_ = 0;
};

}  // namespace pillion::secrets
