// What `pillion check` and `pillion config` do, as functions: the program only prints and exits.
#pragma once

#include <string>
#include <vector>

#include "config/load.h"

namespace pillion::config {

struct CommandOutput {
  std::string standard_output;
  std::string standard_error;
  int exit_code = 0;  // 0, or 78 (EX_CONFIG) when a file has an error
};

enum class ReportFormat { Text, Json };

struct CheckOptions {
  std::vector<std::string> files;
  ReportFormat format = ReportFormat::Text;
  bool with_colour = false;
};

// Validates every file. Text: problems on standard error, "FILE: ok" on standard output. JSON: one
// array of all problems on standard output.
CommandOutput check_files(const CheckOptions& options, const LoadOptions& load);

// `pillion config FILE [--child NAME]`: the effective configuration, or one child's table as the
// supervisor would write it.
CommandOutput show_config(const std::string& file, const std::string& child,
                          const CheckOptions& options, const LoadOptions& load);

}  // namespace pillion::config
