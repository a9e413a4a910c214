#include "adapters/logs/replay.h"

#include <fcntl.h>
#include <sysexits.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/inspect/line_reader.h"
#include "adapters/logs/output/make_output.h"
#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::logs {
namespace {

constexpr int kExitRefused = 1;
constexpr std::size_t kLetterBytesMax = 64u << 20;
constexpr std::size_t kBatchBytes = 1u << 20;

struct Outcome {
  std::uint64_t sent = 0;
  std::uint64_t refused = 0;
  std::uint64_t unreadable = 0;
};

// The record in a dead letter; empty when the line is none.
std::string_view document_of(std::string_view line) {
  std::string_view document;
  if (!line.starts_with('{') || !line.ends_with('}')) return {};
  RecordFields fields(line);
  for (RecordField field; fields.next(field);) {
    if (field.key == "document") document = field.value;
  }
  return document.starts_with('{') && document.ends_with('}') ? document : std::string_view();
}

// Where `[[output]]` says that refused records go; null when it refuses none.
std::optional<std::string>* dead_letter_of(config::LogOutput& output) {
  if (output.elasticsearch) return &output.elasticsearch->dead_letter;
  if (output.loki) return &output.loki->dead_letter;
  if (output.otlp) return &output.otlp->dead_letter;
  if (output.kafka) return &output.kafka->dead_letter;
  if (output.s3) return &output.s3->dead_letter;
  return output.http ? &output.http->dead_letter : nullptr;
}

// Fills `batch` with the next documents; false at the end of the file.
Result<bool> fill(LineReader& reader, const std::string& path, const std::string& prefix,
                  Batch& batch, Outcome& outcome) {
  std::string line;
  while (batch.records.size() < kBatchBytes) {
    const auto more = reader.next(line);
    if (!more) return fail(more.error().wrap(path));
    if (!*more) return batch.records.record_count() > 0;
    const std::string_view document = document_of(line);
    if (document.empty()) {
      ++outcome.unreadable;
      std::fprintf(stderr, "error: %s:%llu: no dead letter\n", path.c_str(),
                   static_cast<unsigned long long>(reader.number()));
      continue;
    }
    const std::string record = fmt::format("{}{}\n", prefix, document);
    char* const place = batch.records.reserve(record.size());
    record.copy(place, record.size());
    batch.records.end_record(place + record.size());
  }
  return true;
}

}  // namespace

int replay_dead_letters(const config::LogsConfig& config, std::size_t index,
                        const std::string& path) {
  config::LogOutput target;
  if (index < config.outputs.size()) target = config.outputs[index];
  if (dead_letter_of(target) == nullptr) {
    std::fprintf(stderr, "error: output %zu is none that refuses records; say --output N\n",
                 index + 1);
    return EX_CONFIG;
  }
  *dead_letter_of(target) = path + ".refused";
  std::string prefix;
  if (target.elasticsearch) {
    Envelope envelope;
    auto options = elasticsearch_options(*target.elasticsearch);
    options.has_own_id = false;  // where a record came from is not in its letter
    set_bulk_action(envelope, options);
    target.elasticsearch->document_id = false;
    prefix = envelope.record_prefix;
  }
  const auto file = open_file(path, O_RDONLY);
  if (!file) {
    std::fprintf(stderr, "error: %s\n", file.error().message().c_str());
    return EX_OSERR;
  }
  LineReader reader(file->get(), kLetterBytesMax);
  Loop loop;
  const SystemClock clock;
  Outcome outcome;
  auto batch = std::make_unique<Batch>();
  const auto output = make_output(loop, clock, target, path, [&](Batch& done) {
    outcome.sent += done.delivered();
    outcome.refused += done.dropped.size();
    loop.stop();
  });
  for (;;) {
    const auto more = fill(reader, path, prefix, *batch, outcome);
    if (!more) {
      std::fprintf(stderr, "error: %s\n", more.error().message().c_str());
      return EX_OSERR;
    }
    if (!*more) break;
    batch->identity =
        fmt::format("replay-{}-{}", clock.wall_now().time_since_epoch().count(), reader.number());
    output->deliver(*batch);
    loop.run();
    batch = std::make_unique<Batch>();
  }
  std::printf("%llu sent, %llu refused again%s, %llu unreadable; %s is left as it is\n",
              static_cast<unsigned long long>(outcome.sent),
              static_cast<unsigned long long>(outcome.refused),
              outcome.refused > 0 ? (" (" + path + ".refused)").c_str() : "",
              static_cast<unsigned long long>(outcome.unreadable), path.c_str());
  return outcome.refused + outcome.unreadable == 0 ? 0 : kExitRefused;
}

}  // namespace pillion::logs
