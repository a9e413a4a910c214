#include "supervisor/host/output_reader.h"

#include <algorithm>

#include "runtime/clock.h"
#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {
namespace {

constexpr std::uint64_t kBatchBytesMax = 64 * 1024;

}  // namespace

OutputReader::OutputReader(OutputStream kind, int pipe, OutputJournal journal, OutputLog& log)
    : kind_(kind), pipe_(pipe), journal_(std::move(journal)), log_(log) {
  const auto write = journal_.announced();
  if (!write) return;
  if (log_.has_written(*write)) {
    journal_.commit();
  } else {
    journal_.withdraw();
  }
}

bool OutputReader::read_some(std::uint64_t generation, const LineObserver& observer) {
  // First what an earlier reader had taken out of the pipe: it may fill the journal.
  write_lines(generation, observer, false);
  if (journal_.fill(pipe_) == 0) return false;
  failpoint("output read");
  write_lines(generation, observer, false);
  return true;
}

void OutputReader::finish(std::uint64_t generation, const LineObserver& observer) {
  write_lines(generation, observer, true);
}

void OutputReader::write_lines(std::uint64_t generation, const LineObserver& observer,
                               bool is_end) {
  if (!first_line(journal_.pending(), is_end)) return;
  const WallTime now = SystemClock().wall_now();
  const std::string whole = frame_prefix(now, kind_, false, generation);
  const std::string part = frame_prefix(now, kind_, true, generation);
  const std::uint64_t batch_max = std::min(kBatchBytesMax, log_.file_bytes_max());
  std::string batch;
  while (true) {
    const std::string_view pending = journal_.pending();
    std::size_t consumed = 0;
    unsigned records = 0;
    batch.clear();
    while (const auto line = first_line(pending.substr(consumed), is_end)) {
      const std::string& prefix = line->is_partial ? part : whole;
      const std::size_t size = prefix.size() + line->text.size() + 1;
      if (records > 0 && batch.size() + size > batch_max) break;
      batch.append(prefix).append(line->text).append(1, '\n');
      consumed += line->consumed;
      ++records;
    }
    if (records == 0) return;
    write_batch(batch, records, consumed);
    if (!observer) continue;
    for (std::size_t seen = 0; seen < consumed;) {
      const auto line = first_line(pending.substr(seen), is_end);
      observer(kind_, line->text, line->is_partial);
      seen += line->consumed;
    }
  }
}

void OutputReader::write_batch(std::string_view batch, unsigned records, std::size_t consumed) {
  bool is_announced = false;
  const std::uint64_t dropped = log_.dropped_records();
  log_.write(batch, records, [&](const LogWrite& write) {
    journal_.announce(write, consumed);
    is_announced = true;
    failpoint("output announced");
  });
  failpoint("output written");
  if (is_announced && log_.dropped_records() == dropped) {
    journal_.commit();
  } else {
    journal_.consume(consumed);
  }
}

}  // namespace pillion::supervisor::host
