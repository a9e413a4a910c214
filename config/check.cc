#include "config/check.h"

#include <algorithm>

#include "config/render.h"

namespace pillion::config {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG

std::string report(const std::vector<Diagnostic>& diagnostics, const CheckOptions& options) {
  return options.format == ReportFormat::Json ? format_json(diagnostics)
                                              : format_text(diagnostics, options.with_colour);
}

// "orders.toml: 2 errors, 1 warning"
std::string summary(const std::string& file, const std::vector<Diagnostic>& diagnostics) {
  const auto errors = std::count_if(diagnostics.begin(), diagnostics.end(),
                                    [](const auto& d) { return d.severity == Severity::Error; });
  const auto warnings = static_cast<std::ptrdiff_t>(diagnostics.size()) - errors;
  const auto counted = [](std::ptrdiff_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
  };
  std::string text = file + ": " + (errors == 0 ? "ok" : counted(errors, "error"));
  if (warnings != 0) text += ", " + counted(warnings, "warning");
  return text + "\n";
}

}  // namespace

CommandOutput check_files(const CheckOptions& options, const LoadOptions& load) {
  CommandOutput output;
  std::vector<Diagnostic> all;
  for (const std::string& file : options.files) {
    const LoadResult<Service> result = load_service(file, load);
    all.insert(all.end(), result.diagnostics.begin(), result.diagnostics.end());
    if (!result.value) output.exit_code = kExitConfig;
    if (options.format == ReportFormat::Json) continue;
    output.standard_error += format_text(result.diagnostics, options.with_colour);
    (result.value ? output.standard_output : output.standard_error) +=
        summary(file, result.diagnostics);
  }
  if (options.format == ReportFormat::Json) output.standard_output = format_json(all);
  return output;
}

CommandOutput show_config(const std::string& file, const std::string& child,
                          const CheckOptions& options, const LoadOptions& load) {
  CommandOutput output;
  LoadResult<Service> result = load_service(file, load);
  output.standard_error = result.diagnostics.empty() ? "" : report(result.diagnostics, options);
  if (!result.value) {
    output.exit_code = kExitConfig;
    return output;
  }
  complete_components(*result.value);
  if (child.empty()) {
    output.standard_output = render_service(*result.value);
    return output;
  }
  const Child* found = result.value->find(child);
  if (found == nullptr || !found->use) {
    output.standard_error +=
        file + ": error: " +
        (found == nullptr ? "there is no child `" + child + "`"
                          : "the child `" + child + "` has no table of its own") +
        "\n";
    output.exit_code = kExitConfig;
    return output;
  }
  output.standard_output = render_component(*found);
  return output;
}

}  // namespace pillion::config
