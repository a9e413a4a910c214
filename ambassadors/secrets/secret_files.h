// The files that the configuration asks for: what each is rendered from, whether it was written,
// how old it is, and why it is not newer.
//
// Sources report here what they read (update) or that they could not (report_failure). All files of
// one secret change together or not at all: every one is rendered and prepared before the first is
// renamed. A failure never touches the file that is there. Blocking file writes on the loop: the
// targets are small and in memory (tmpfs).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ambassadors/secrets/file_write.h"
#include "ambassadors/secrets/issued_values.h"
#include "ambassadors/secrets/secret_data.h"
#include "config/secrets.h"
#include "runtime/clock.h"
#include "runtime/metrics.h"
#include "runtime/result.h"

namespace pillion::secrets {

class SecretFiles {
 public:
  // All must outlive this object.
  SecretFiles(const Clock& clock, Registry& registry, IssuedValues& issued);
  SecretFiles(const SecretFiles&) = delete;
  SecretFiles& operator=(const SecretFiles&) = delete;

  // Sets what is wanted. Unchanged entries keep their state; the file of a removed entry stays on
  // disk, because the app may still read it.
  void apply(const std::vector<config::SecretFile>& files);

  // The secrets to be read, each once.
  std::vector<SecretId> wanted() const;

  // True when every file of the secret is now as it should be; false when the source should be
  // asked again soon (field missing, write failed).
  bool update(const SecretId& id, const SecretData& data);
  void report_failure(const SecretId& id, const Error& why);

  // Every file has been written (or found right) once.
  bool is_complete() const;
  // Every file has been written or has failed once.
  bool is_tried() const;
  // "secret/data/orders for /run/secrets/db-password: permission denied"; the first of them when
  // several wait, empty when complete.
  std::string waiting_for() const;
  std::uint64_t files_written() const { return written_.value(); }

  // An array of {path, source, secret, field, state, version, written_at, age_seconds,
  // stale_seconds, problem}; no content.
  std::string to_json() const;

 private:
  struct Entry {
    config::SecretFile config;
    SecretId id;
    FileTarget target;
    std::optional<FileStamp> stamp;  // of the file as we left it; empty before the first write
    std::string digest;              // SHA-256 of its content
    std::uint64_t version = 0;
    WallTime written_at{};
    MonotonicTime changed_at{};
    std::optional<MonotonicTime> stale_since;  // first failure after the last success
    std::string problem;                       // empty = as the source has it
  };

  void set_problem(Entry& entry, const std::string& problem);
  void clear_problem(Entry& entry);
  const SecretText* find_text(const Entry& entry, const SecretData& data);
  bool needs_write(Entry& entry, const SecretText& text);
  void note_written(Entry& entry, const FileStamp& stamp, const SecretText& text,
                    std::uint64_t version);
  void collect(MetricsWriter& writer) const;

  const Clock& clock_;
  IssuedValues& issued_;
  std::vector<Entry> entries_;
  Counter& written_;
  Counter& write_failures_;
};

}  // namespace pillion::secrets
