#include "adapters/logs/ledger_command.h"

#include <sysexits.h>
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
#include "config/component_file.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"

namespace pillion::logs {
namespace {

constexpr int kExitUnknown = 1;
constexpr std::chrono::seconds kAnswerTimeout{5};

struct Source {
  config::ComponentFile file;
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
  } else if (!service.empty() && !source.file.child.empty()) {
    answer = get("http://admin/ledger", admin_socket(service, source.file.child));
  }
  if (!answer && config != nullptr && config->admin.listen) {
    answer = get("http://" + config->admin.listen->to_string() + "/ledger", "");
  }
  if (!answer) return fail(answer.error());
  return parse_ledgers(*answer);
}

int show(const Source& source) {
  std::optional<config::LogsConfig> config;
  if (!source.file.is_named() && source.socket.empty()) {
    std::fputs("error: say --service FILE --child NAME, --config FILE or --socket PATH\n", stderr);
    return EX_CONFIG;
  }
  if (source.file.is_named()) {
    config = config::load_component_or_print<config::LogsConfig>(source.file);
    if (!config) return EX_CONFIG;
  }
  std::string service = environment("PILLION_SERVICE");
  if (service.empty() && config) service = config->service;
  std::string child = source.file.child.empty() ? environment("PILLION_CHILD") : source.file.child;
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
  config::add_component_options(*command, source->file);
  command->add_option("--socket", source->socket, "Ask the adapter behind this admin socket");
  command->add_flag("--json", source->is_json, "Answer in JSON");
  command->callback([source, &exit_code] { exit_code = show(*source); });
}

}  // namespace pillion::logs
