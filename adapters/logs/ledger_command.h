// `pillion-logs ledger`: what became of every record, of a running adapter or of one that has
// ended.
#pragma once

namespace CLI {
class App;
}

namespace pillion::logs {

void add_ledger(CLI::App& app, int& exit_code);

}  // namespace pillion::logs
