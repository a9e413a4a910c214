// One function per command of `pillion`: adds the subcommand with its options to the parser. What
// the command does runs when the line is parsed and sets `exit_code`, which outlives the parser.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace pillion::supervisor::cli {

void add_check(CLI::App& app, int& exit_code);
void add_clean(CLI::App& app, int& exit_code);
void add_completion(CLI::App& app, int& exit_code);
void add_config(CLI::App& app, int& exit_code);
void add_deploy(CLI::App& app, int& exit_code);
void add_doctor(CLI::App& app, int& exit_code);
void add_events(CLI::App& app, int& exit_code);
void add_exec(CLI::App& app, int& exit_code);
void add_logs(CLI::App& app, int& exit_code);
void add_metrics(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app, int& exit_code);
void add_ps(CLI::App& app, int& exit_code);
void add_recommend(CLI::App& app, int& exit_code);
void add_reload(CLI::App& app, int& exit_code);
void add_resize(CLI::App& app, int& exit_code);
void add_restart(CLI::App& app, int& exit_code);
void add_retry(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code);
void add_start(CLI::App& app, int& exit_code);
void add_status(CLI::App& app, int& exit_code);
void add_stop(CLI::App& app, int& exit_code);
void add_timeline(CLI::App& app, int& exit_code);
void add_top(CLI::App& app, int& exit_code);
void add_upgrade(CLI::App& app, int& exit_code);
void add_why(CLI::App& app, int& exit_code);

// Checks of option values: empty when right, else what is wrong with it.
std::string check_duration(const std::string& text);
std::string check_since(const std::string& text);

}  // namespace pillion::supervisor::cli
