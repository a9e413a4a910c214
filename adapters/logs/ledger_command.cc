#include "adapters/logs/ledger_command.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "adapters/logs/ledger_report.h"
#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"

namespace pillion::logs {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG
constexpr int kExitUnknown = 1;
constexpr std::chrono::seconds kAnswerTimeout{5};

struct Source {
  std::string config_file;
  std::string service_file;
  std::string child;
  std::string socket;
  bool is_json = false;
};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where the supervisor puts the admin socket of a child, see docs/lifecycle.md.
std::string admin_socket(const std::string& service, const std::string& child) {
  std::string parent = environment("PILLION_RUNTIME_DIR");
  if (parent.empty() && ::geteuid() == 0) parent = "/run/pillion";
  if (parent.empty()) {
    const std::string xdg = environment("XDG_RUNTIME_DIR");
    parent = xdg.empty() ? "/tmp/pillion-" + std::to_string(::geteuid()) : xdg + "/pillion";
  }
  return parent + "/" + service + "/" + child + ".admin.sock";
}

Result<std::string> get(const std::string& url, const std::string& socket) {
  Loop loop;
  std::optional<Result<HttpClient::Response>> answer;
  {
    HttpClient client(loop);
    HttpClient::Request request;
    request.url = url;
    request.unix_socket_path = socket;
    request.total_timeout = kAnswerTimeout;
    const auto exchange =
        client.send(std::move(request), [&](Result<HttpClient::Response> response) {
          answer = std::move(response);
          loop.stop();
        });
    loop.run();
  }
  if (!answer) return fail("no answer");
  if (!*answer) return fail(answer->error());
  if ((*answer)->status != 200) {
    return fail("the adapter answers " + std::to_string((*answer)->status));
  }
  return std::move((*answer)->body);
}

// Of the running adapter; the error is that there is none, or that it does not answer.
Result<std::vector<OutputLedger>> ask(const Source& source, const config::LogsConfig* config,
                                      const std::string& service) {
  Result<std::string> answer = fail("no admin address is known");
  if (!source.socket.empty()) {
    answer = get("http://admin/ledger", source.socket);
  } else if (!service.empty() && !source.child.empty()) {
    answer = get("http://admin/ledger", admin_socket(service, source.child));
  }
  if (!answer && config != nullptr && config->admin.listen) {
    answer = get("http://" + config->admin.listen->to_string() + "/ledger", "");
  }
  if (!answer) return fail(answer.error());
  return parse_ledgers(*answer);
}

std::optional<config::LogsConfig> config_of(const Source& source) {
  const auto options = config::system_load_options();
  auto loaded = source.config_file.empty()
                    ? config::load_child_component<config::LogsConfig>(source.service_file,
                                                                       source.child, options)
                    : config::load_component<config::LogsConfig>(source.config_file, options);
  std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
  return std::move(loaded.value);
}

int show(const Source& source) {
  std::optional<config::LogsConfig> config;
  const bool has_file = !source.config_file.empty() || !source.service_file.empty();
  if (!has_file && source.socket.empty()) {
    std::fputs("error: say --service FILE --child NAME, --config FILE or --socket PATH\n", stderr);
    return kExitConfig;
  }
  if (has_file) {
    config = config_of(source);
    if (!config) return kExitConfig;
  }
  std::string service = environment("PILLION_SERVICE");
  if (service.empty() && config) service = config->service;
  std::string child = source.child.empty() ? environment("PILLION_CHILD") : source.child;
  auto ledgers = ask(source, config ? &*config : nullptr, service);
  if (!ledgers && config) {
    const std::string why = ledgers.error().message();
    ledgers = read_left_ledgers(*config, service, child);
    if (!ledgers)
      ledgers = fail("no adapter answers (" + why + "), and " + ledgers.error().message());
  }
  if (!ledgers) {
    std::fprintf(stderr, "error: %s\n", ledgers.error().message().c_str());
    return kExitUnknown;
  }
  std::fputs((source.is_json ? to_json(*ledgers) : render_ledgers(*ledgers)).c_str(), stdout);
  return 0;
}

}  // namespace

void add_ledger(CLI::App& app, int& exit_code) {
  const auto source = std::make_shared<Source>();
  auto* const command = app.add_subcommand(
      "ledger", "What became of every record: read = delivered + dropped + pending");
  auto* const config =
      command->add_option("--config", source->config_file, "The adapter's table, TOML");
  auto* const service =
      command->add_option("--service", source->service_file, "A whole service file");
  auto* const child =
      command->add_option("--child", source->child, "Which child of the service file");
  command->add_option("--socket", source->socket, "Ask the adapter behind this admin socket");
  service->needs(child)->excludes(config);
  child->needs(service);
  command->add_flag("--json", source->is_json, "Answer in JSON");
  command->callback([source, &exit_code] { exit_code = show(*source); });
}

}  // namespace pillion::logs
