#include "supervisor/cli/service_status.h"

#include "runtime/fd.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

Result<control::StatusReport> fetch_status(const std::string& name) {
  const auto answer = call_api(name, "GET", "/v1/status");
  if (!answer) return fail(answer.error());
  return control::parse_status_report(*answer);
}

std::optional<core::Receipt> read_last_receipt(const std::string& name) {
  const auto text = read_file(host::service_paths(service_name_of(name)).state + "/last-stop.json");
  if (!text) return {};
  auto receipt = control::parse_receipt(*text);
  if (!receipt) return {};
  return std::move(*receipt);
}

}  // namespace pillion::supervisor::cli
