#include "adapters/logs/follow/checkpoint.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/fd.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

constexpr int kVersion = 1;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::string render_entry(const FileCheckpoint& file) {
  std::string line = "{\"input\":";
  append_json_string(line, file.input);
  line += ",\"path\":";
  append_json_string(line, file.path);
  line += fmt::format(
      ",\"device\":{},\"inode\":{},\"born_ns\":{},\"head_length\":{},\"head_hash\":\"{}\","
      "\"tail_length\":{},\"tail_hash\":\"{}\",\"offset\":{},\"document_id\":\"{}\",\"epoch\":{},"
      "\"finished\":{}}}\n",
      file.device, file.inode, file.born_ns, file.head_length, hex(file.head_hash),
      file.tail_length, hex(file.tail_hash), file.offset, hex(file.document_id), file.epoch,
      file.is_finished);
  return line;
}

std::string render_ledger(const InputLedger& input) {
  std::string line = "{\"ledger\":";
  append_json_string(line, input.input);
  line += fmt::format(",\"delivered\":{},\"dropped\":{},\"filtered\":{}}}\n",
                      input.counts.delivered, input.counts.dropped, input.counts.filtered);
  return line;
}

InputLedger parse_ledger(const nlohmann::json& line) {
  InputLedger input;
  line.at("ledger").get_to(input.input);
  line.at("delivered").get_to(input.counts.delivered);
  line.at("dropped").get_to(input.counts.dropped);
  line.at("filtered").get_to(input.counts.filtered);
  input.counts.read = input.counts.delivered + input.counts.dropped;
  return input;
}

FileCheckpoint parse_entry(const nlohmann::json& line) {
  const auto hash_at = [&](const char* key) {
    return std::stoull(line.at(key).get<std::string>(), nullptr, 16);
  };
  FileCheckpoint file;
  line.at("input").get_to(file.input);
  line.at("path").get_to(file.path);
  line.at("device").get_to(file.device);
  line.at("inode").get_to(file.inode);
  line.at("born_ns").get_to(file.born_ns);
  line.at("head_length").get_to(file.head_length);
  line.at("tail_length").get_to(file.tail_length);
  line.at("offset").get_to(file.offset);
  line.at("epoch").get_to(file.epoch);
  line.at("finished").get_to(file.is_finished);
  file.head_hash = hash_at("head_hash");
  file.tail_hash = hash_at("tail_hash");
  file.document_id = hash_at("document_id");
  return file;
}

// The library's exceptions end here.
Result<Checkpoint> parse_lines(std::string_view header, std::string_view body) {
  try {
    const auto head = nlohmann::json::parse(header);
    if (head.at("pillion_checkpoint").get<int>() != kVersion) {
      return fail("written by another version of pillion-logs");
    }
    if (head.at("crc32c").get<std::string>() != fmt::format("{:08x}", crc32c(body))) {
      return fail("checksum does not match");
    }
    Checkpoint checkpoint;
    while (!body.empty()) {
      const std::size_t end = body.find('\n');
      if (end == std::string_view::npos) return fail("last line is not complete");
      const auto line = nlohmann::json::parse(body.substr(0, end));
      if (line.contains("ledger")) {
        checkpoint.ledger.push_back(parse_ledger(line));
      } else if (line.contains("journal")) {
        checkpoint.journals.push_back(
            {line.at("journal").get<std::string>(), line.at("cursor").get<std::string>()});
      } else if (line.contains("output")) {
        line.at("output").get_to(checkpoint.output);
      } else {
        checkpoint.files.push_back(parse_entry(line));
      }
      body.remove_prefix(end + 1);
    }
    return checkpoint;
  } catch (const std::exception& error) {
    return fail(std::string("not a checkpoint: ") + error.what());
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  }
  return crc ^ 0xffffffffu;
}

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  std::uint64_t hash = seed;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::string render_checkpoint(const Checkpoint& checkpoint) {
  std::string body;
  for (const auto& file : checkpoint.files) body += render_entry(file);
  for (const auto& input : checkpoint.ledger) body += render_ledger(input);
  for (const auto& [name, cursor] : checkpoint.journals) {
    body += "{\"journal\":";
    append_json_string(body, name);
    body += ",\"cursor\":";
    append_json_string(body, cursor);
    body += "}\n";
  }
  if (!checkpoint.output.empty()) {
    body += "{\"output\":";
    append_json_string(body, checkpoint.output);
    body += "}\n";
  }
  return fmt::format("{{\"pillion_checkpoint\":{},\"entries\":{},\"crc32c\":\"{:08x}\"}}\n",
                     kVersion, checkpoint.files.size(), crc32c(body)) +
         body;
}

Result<Checkpoint> parse_checkpoint(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return fail("no header line");
  return parse_lines(text.substr(0, end), text.substr(end + 1));
}

Checkpoint load_checkpoint(const std::string& path, std::vector<std::string>& problems) {
  for (const std::string& candidate : {path, path + ".prev"}) {
    const auto text = read_file(candidate, 256u << 20);
    if (!text) {
      if (text.error().errno_value() != ENOENT) problems.push_back(text.error().message());
      continue;
    }
    auto checkpoint = parse_checkpoint(*text);
    if (checkpoint) return std::move(*checkpoint);
    problems.push_back("cannot use checkpoint " + candidate + ": " + checkpoint.error().message());
  }
  return {};
}

Result<void> save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  const std::string previous = path + ".prev";
  // The link keeps the old state reachable all the time; the atomic write replaces `path` after it.
  ::unlink(previous.c_str());
  if (::link(path.c_str(), previous.c_str()) < 0 && errno != ENOENT) {
    return fail_errno("cannot keep " + previous);
  }
  return write_file_atomically(path, render_checkpoint(checkpoint), 0640);
}

}  // namespace pillion::logs
