#include "supervisor/core/receipt.h"

#include <fmt/format.h>

namespace pillion::supervisor::core {

std::int64_t Receipt::count(const std::string& key) const {
  const auto found = counts.find(key);
  return found == counts.end() ? 0 : found->second;
}

namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// "requests      12 finished, 0 aborted", from the keys that begin with `prefix`.
void append_counts(std::string& out, const Receipt& receipt, const std::string& prefix) {
  std::string line;
  for (const auto& [key, count] : receipt.counts) {
    if (key.compare(0, prefix.size() + 1, prefix + "_") != 0) continue;
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", count, key.substr(prefix.size() + 1));
  }
  if (!line.empty()) out += fmt::format("  {:<12}{}\n", prefix, line);
}

void append_names(std::string& out, const char* title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  out += fmt::format("  {:<12}", title);
  for (std::size_t i = 0; i < names.size(); ++i) out += (i == 0 ? "" : ", ") + names[i];
  out += '\n';
}

}  // namespace

std::string describe(const Receipt& receipt) {
  std::string out = fmt::format("stopped in {:.2f} s, exit code {} ({})\n", seconds(receipt.total),
                                receipt.exit_code, receipt.reason);
  for (const char* prefix : {"requests", "connections", "records", "files"}) {
    append_counts(out, receipt, prefix);
  }
  std::string phases;
  for (const ReceiptPhase& phase : receipt.phases) {
    phases += fmt::format("{}{} {:.2f} s", phases.empty() ? "" : ", ", phase.name,
                          seconds(phase.duration));
  }
  if (!phases.empty()) out += fmt::format("  {:<12}{}\n", "phases", phases);
  append_names(out, "killed", receipt.killed);
  append_names(out, "stuck", receipt.stuck);
  return out;
}

}  // namespace pillion::supervisor::core
