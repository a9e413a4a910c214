#include "supervisor/host/receipt_file.h"

#include <fmt/format.h>

#include "runtime/fd.h"
#include "runtime/json_text.h"

namespace pillion::supervisor::host {
namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

template <class Items, class Write>
std::string joined(const Items& items, Write write) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ",") + write(item);
  return out;
}

std::string names(const std::vector<std::string>& list) {
  return "[" + joined(list, [](const std::string& name) { return quoted(name); }) + "]";
}

std::string counts(const std::map<std::string, std::int64_t>& numbers) {
  return "{" + joined(numbers, [](const auto& item) {
           return fmt::format("{}:{}", quoted(item.first), item.second);
         }) + "}";
}

}  // namespace

std::string receipt_to_json(const core::Finish& finish) {
  const core::Receipt& receipt = finish.receipt;
  const std::string phases = joined(receipt.phases, [](const core::ReceiptPhase& phase) {
    return fmt::format("{{\"name\":{},\"seconds\":{:.3f}}}", quoted(phase.name), seconds(phase.duration));
  });
  const std::string by_child = joined(receipt.counts_by_child, [](const auto& item) {
    return quoted(item.first) + ":" + counts(item.second);
  });
  return fmt::format(
      "{{\"reason\":{},\"exit_code\":{},\"seconds\":{:.3f},\"phases\":[{}],\"killed\":{},"
      "\"stuck\":{},\"counts\":{},\"counts_by_child\":{{{}}}}}\n",
      quoted(receipt.reason), finish.exit_code, seconds(receipt.total), phases,
      names(receipt.killed), names(receipt.stuck), counts(receipt.counts), by_child);
}

Result<void> write_receipt(const std::string& path, const core::Finish& finish) {
  auto written = write_file_atomically(path, receipt_to_json(finish), 0640);
  if (!written) return fail(written.error().wrap("cannot keep the receipt"));
  return {};
}

}  // namespace pillion::supervisor::host
