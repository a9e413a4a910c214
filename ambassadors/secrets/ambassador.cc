#include "ambassadors/secrets/ambassador.h"

#include <sysexits.h>

#include <cstdlib>
#include <map>
#include <utility>

#include "runtime/json_text.h"
#include "runtime/log.h"

namespace pillion::secrets {
namespace {

// Where the supervisor wants it, when the service has somebody who reads it.
std::string fingerprint_path(const config::SecretsConfig& config) {
  if (config.fingerprints) return *config.fingerprints;
  const char* const directory = std::getenv("PILLION_ISSUED_DIR");
  const char* const child = std::getenv("PILLION_CHILD");
  if (directory == nullptr || child == nullptr) return {};
  return std::string(directory) + "/" + child;
}

}  // namespace

Ambassador::Ambassador(Loop& loop, Inputs inputs)
    : loop_(loop),
      inputs_(std::move(inputs)),
      issued_(clock_, fingerprint_path(inputs_.config)),
      files_(clock_, registry_, issued_),
      file_source_(loop, {.on_data = [this](const SecretId& id,
                                            const SecretData& data) { return on_data(id, data); },
                          .on_failure = [this](const SecretId& id,
                                               const Error& why) { on_failure(id, why); }}),
      proxy_(inputs_.config.proxy, registry_, issued_),
      admin_(loop),
      proxy_server_(loop, {.body_bytes_max = kProxyBodyBytesMax,
                           .request_timeout = std::chrono::seconds(60)}),
      component_(loop, {.on_reload = [this] { reload(); },
                        .on_drain = [this] { begin_drain(); },
                        .on_deadline = [this] { stop(); }}),
      refresh_(loop) {}

Ambassador::~Ambassador() { proxy_.set_source(nullptr); }

Result<std::unique_ptr<Ambassador>> Ambassador::create(Loop& loop, Inputs inputs) {
  std::unique_ptr<Ambassador> ambassador(new Ambassador(loop, std::move(inputs)));
  ambassador->add_admin_routes();
  if (auto opened = ambassador->open_listeners(); !opened) return fail(opened.error());
  return ambassador;
}

Result<void> Ambassador::open_listeners() {
  const auto& config = inputs_.config;
  if (auto opened = serve_on(admin_, inputs_.listeners, "admin", config.admin.listen); !opened) {
    return opened;
  }
  if (!config.vault || !config.proxy.enabled) return {};
  return serve_on(proxy_server_, inputs_.listeners, "vault", std::optional(config.proxy.listen));
}

void Ambassador::add_admin_routes() {
  const auto health = [this](const HttpServerRequest&) {
    return is_ready_ ? HttpServerResponse::text(200, "ready\n")
                     : HttpServerResponse::text(503, "waiting for " + waiting_text() + "\n");
  };
  admin_.route("GET", "/ready", health);
  admin_.route("GET", "/healthz", health);
  admin_.route("GET", "/secrets", [this](const HttpServerRequest&) {
    return HttpServerResponse::json(200, status_json());
  });
  proxy_server_.set_fallback([this](const HttpServerRequest& request, HttpResponder respond) {
    proxy_.handle(request, std::move(respond));
  });
  add_metrics_routes(admin_, registry_);
}

int Ambassador::run() {
  apply();
  loop_.run();
  return exit_code_;
}

void Ambassador::apply() {
  files_.apply(inputs_.config.files);
  apply_sources();
  // Also heals a file that somebody removed or replaced.
  refresh_.start(inputs_.config.refresh, inputs_.config.refresh,
                 [this] { file_source_.read_again(); });
  review_readiness();
}

void Ambassador::apply_sources() {
  std::map<std::string, bool> local_files;
  for (const auto& file : inputs_.config.files) {
    if (file.source != config::SecretSource::File) continue;
    bool& with_fields = local_files[file.secret];
    with_fields = with_fields || file.field.has_value();
  }
  file_source_.apply(std::move(local_files));
  apply_vault();
}

void Ambassador::apply_vault() {
  const auto& config = inputs_.config;
  proxy_.set_config(config.proxy);
  if (config.vault != vault_used_) {
    proxy_.set_source(nullptr);
    vault_.reset();
    vault_used_ = config.vault;
    if (!config.vault) return;
    vault_ = std::make_unique<VaultSource>(
        loop_, clock_, *config.vault, config.refresh, registry_,
        VaultSource::Callbacks{
            .on_data = [this](const SecretId& id,
                              const SecretData& data) { return on_data(id, data); },
            .on_failure = [this](const SecretId& id, const Error& why) { on_failure(id, why); },
            .on_session_change = [this] { review_readiness(); }});
    proxy_.set_source(vault_.get());
    vault_->start();
  }
  if (!vault_) return;
  std::vector<std::string> paths;
  for (const SecretId& id : files_.wanted()) {
    if (id.source == config::SecretSource::Vault) paths.push_back(id.name);
  }
  vault_->apply(paths, config.refresh);
}

void Ambassador::reload() {
  auto wanted = inputs_.reload();
  if (!wanted) {
    log::error("the new configuration is not valid: keeping the old one");
    return;
  }
  inputs_.config = std::move(*wanted);
  log::info("configuration reloaded");
  apply();
}

bool Ambassador::on_data(const SecretId& id, const SecretData& data) {
  const bool is_used = files_.update(id, data);
  review_readiness();
  return is_used;
}

void Ambassador::on_failure(const SecretId& id, const Error& why) {
  files_.report_failure(id, why);
  review_readiness();
}

bool Ambassador::is_waiting_for_login() {
  return vault_ && !is_ready_ && !vault_->session().has_token();
}

std::string Ambassador::waiting_text() {
  if (!files_.is_complete()) return files_.waiting_for();
  const std::string& problem = vault_ ? vault_->session().problem() : "";
  return "the login to Vault" + (problem.empty() ? "" : ": " + problem);
}

std::string Ambassador::status_json() {
  std::string out = "{\"ready\":";
  out += is_ready_ ? "true" : "false";
  if (vault_) {
    out += ",\"token\":{\"state\":";
    append_json_string(out, name_of(vault_->session().state()));
    out += ",\"problem\":";
    append_json_string(out, vault_->session().problem());
    out += '}';
  }
  return out + ",\"files\":" + files_.to_json() + "}\n";
}

void Ambassador::review_readiness() {
  if (files_.is_complete() && !is_waiting_for_login()) {
    if (!is_ready_) become_ready();
    component_.set_status("all " + std::to_string(inputs_.config.files.size()) +
                          " files are written");
    return;
  }
  component_.set_status("waiting for " + waiting_text());
  const bool is_login_tried =
      !vault_ || vault_->session().has_token() || !vault_->session().problem().empty();
  if (is_ready_ || !files_.is_tried() || !is_login_tried) return;
  switch (inputs_.config.on_unavailable) {
    case config::OnUnavailable::Wait: break;
    case config::OnUnavailable::StartDegraded:
      log::warn("starting degraded, without {}", waiting_text());
      become_ready();
      break;
    case config::OnUnavailable::Fail:
      log::error("giving up: no {}", waiting_text());
      exit_code_ = EX_OSERR;
      stop();
      break;
  }
}

void Ambassador::become_ready() {
  is_ready_ = true;
  component_.become_ready();
  log::info("ready");
}

void Ambassador::begin_drain() {
  log::info("draining");
  proxy_server_.drain([this] {
    component_.finish();
    stop();
  });
}

void Ambassador::stop() {
  component_.send_receipt({{"files_written", static_cast<long long>(files_.files_written())}});
  loop_.stop();
}

}  // namespace pillion::secrets
