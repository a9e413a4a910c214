#include "adapters/logs/ledger_report.h"

#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "adapters/logs/follow/checkpoint.h"
#include "adapters/logs/follow/followed_file.h"
#include "adapters/logs/wiring.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

void append_counts(std::string& text, const Ledger& counts) {
  text +=
      fmt::format(",\"read\":{},\"delivered\":{},\"dropped\":{},\"pending\":{},\"filtered\":{}",
                  counts.read, counts.delivered, counts.dropped, counts.pending(), counts.filtered);
}

void append_output(std::string& text, const OutputLedger& ledger) {
  text += "{\"output\":";
  append_json_string(text, ledger.output);
  if (ledger.run) append_counts(text, *ledger.run);
  text += fmt::format(",\"bytes_unread\":{},\"trouble\":", ledger.bytes_unread);
  append_json_string(text, ledger.trouble);
  text += ",\"inputs\":[";
  for (const InputLedger& input : ledger.inputs) {
    if (text.back() == '}') text += ',';
    text += "{\"input\":";
    append_json_string(text, input.input);
    append_counts(text, input.counts);
    text += '}';
  }
  text += "]}";
}

Ledger counts_of(const nlohmann::json& object) {
  Ledger counts;
  object.at("read").get_to(counts.read);
  object.at("delivered").get_to(counts.delivered);
  object.at("dropped").get_to(counts.dropped);
  object.at("filtered").get_to(counts.filtered);
  return counts;
}

OutputLedger output_of(const nlohmann::json& object) {
  OutputLedger ledger;
  object.at("output").get_to(ledger.output);
  object.at("bytes_unread").get_to(ledger.bytes_unread);
  object.at("trouble").get_to(ledger.trouble);
  if (object.contains("read")) ledger.run = counts_of(object);
  for (const auto& input : object.at("inputs")) {
    ledger.inputs.push_back({input.at("input").get<std::string>(), counts_of(input)});
  }
  return ledger;
}

bool is_of(const FileFacts& facts, const FileCheckpoint& file) {
  return facts.inode == file.inode && facts.device == file.device;
}

// The file of an entry, under its path or the name it has been given since.
std::optional<FileFacts> find_file(const FileCheckpoint& file) {
  const auto facts = facts_of(file.path);
  if (facts && is_of(*facts, file)) return *facts;
  const std::filesystem::path path(file.path);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path(), error)) {
    const auto other = facts_of(entry.path().string());
    if (other && is_of(*other, file)) return *other;
  }
  return std::nullopt;
}

// What the files have behind their positions, and those that have come since.
std::uint64_t unread_bytes(const Checkpoint& checkpoint) {
  std::uint64_t bytes = 0;
  std::set<std::string> paths;
  for (const FileCheckpoint& file : checkpoint.files) {
    paths.insert(file.path);
    if (file.inode == 0 || file.is_finished) continue;
    const auto facts = find_file(file);
    if (facts && facts->size > file.offset) bytes += facts->size - file.offset;
  }
  for (const std::string& path : paths) {
    const auto facts = facts_of(path);
    const bool is_known =
        facts && std::any_of(checkpoint.files.begin(), checkpoint.files.end(),
                             [&](const auto& file) { return is_of(*facts, file); });
    if (facts && !is_known) bytes += facts->size;
  }
  return bytes;
}

std::string equation(const Ledger& counts) {
  std::string text = fmt::format("read {} = delivered {} + dropped {} + pending {}", counts.read,
                                 counts.delivered, counts.dropped, counts.pending());
  if (counts.filtered > 0) text += fmt::format("; {} filtered out before", counts.filtered);
  return text;
}

}  // namespace

std::string to_json(const std::vector<OutputLedger>& ledgers) {
  std::string text = "{\"outputs\":[";
  for (const OutputLedger& ledger : ledgers) {
    if (text.back() == '}') text += ',';
    append_output(text, ledger);
  }
  return text + "]}\n";
}

// The library's exceptions end here.
Result<std::vector<OutputLedger>> parse_ledgers(std::string_view json) {
  try {
    std::vector<OutputLedger> ledgers;
    const auto document = nlohmann::json::parse(json);
    for (const auto& output : document.at("outputs")) ledgers.push_back(output_of(output));
    return ledgers;
  } catch (const std::exception& error) {
    return fail(std::string("the adapter's answer is no ledger: ") + error.what());
  }
}

std::string render_ledgers(const std::vector<OutputLedger>& ledgers) {
  std::string text;
  for (const OutputLedger& ledger : ledgers) {
    text += ledger.output + (ledger.run ? "" : " (not running)") + "\n";
    std::size_t width = 5;
    for (const InputLedger& input : ledger.inputs) width = std::max(width, input.input.size());
    const auto row = [&](const auto&... cells) {
      text += fmt::format("  {:{}}  {:>12}  {:>12}  {:>9}  {:>9}  {:>9}\n", cells...);
    };
    row("INPUT", width, "READ", "DELIVERED", "DROPPED", "PENDING", "FILTERED");
    for (const auto& [input, counts] : ledger.inputs) {
      row(input, width, counts.read, counts.delivered, counts.dropped, counts.pending(),
          counts.filtered);
    }
    if (ledger.run) text += "  this run: " + equation(*ledger.run) + "\n";
    if (ledger.bytes_unread > 0) {
      text += fmt::format("  {} bytes are in the files and not read yet\n", ledger.bytes_unread);
    }
    if (!ledger.trouble.empty()) text += "  trouble: " + ledger.trouble + "\n";
  }
  return text;
}

Result<std::vector<OutputLedger>> read_left_ledgers(const config::LogsConfig& config,
                                                    const std::string& service,
                                                    const std::string& child) {
  std::vector<OutputLedger> ledgers;
  const std::size_t count = std::max<std::size_t>(config.outputs.size(), 1);
  for (std::size_t i = 0; i < count; ++i) {
    std::string looked_at;
    std::string found;
    for (const std::string& path : checkpoint_candidates(config, i, service, child)) {
      looked_at += (looked_at.empty() ? "" : ", ") + path;
      if (found.empty() && facts_of(path)) found = path;
    }
    if (found.empty()) return fail("no checkpoint is at " + looked_at);
    std::vector<std::string> problems;
    const Checkpoint checkpoint = load_checkpoint(found, problems);
    OutputLedger ledger;
    ledger.output = checkpoint.output;
    ledger.inputs = checkpoint.ledger;
    ledger.bytes_unread = unread_bytes(checkpoint);
    if (!problems.empty()) ledger.trouble = problems.front();
    ledgers.push_back(std::move(ledger));
  }
  return ledgers;
}

}  // namespace pillion::logs
