// The commands of pillion-logs that look at lines and touch neither checkpoints nor outputs.
#pragma once

namespace CLI {
class App;
}

namespace pillion::logs {

void add_explain(CLI::App& app, int& exit_code);
void add_test(CLI::App& app, int& exit_code);
void add_replay(CLI::App& app, int& exit_code);

}  // namespace pillion::logs
