#include "ambassadors/secrets/secret_files.h"

#include <fmt/chrono.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "config/names.h"
#include "runtime/json_text.h"
#include "runtime/log.h"

namespace pillion::secrets {
namespace {

constexpr std::size_t kFieldNamesShownMax = 8;

std::string digest_of(const std::string& text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

FileTarget target_of(const config::SecretFile& file) {
  FileTarget target{.path = file.path, .mode = file.mode.value, .uid = {}, .gid = {}};
  if (file.owner) {
    target.uid = file.owner->uid;
    target.gid = file.owner->gid;
  }
  if (file.group) target.gid = file.group->gid;
  return target;
}

std::string missing_field(const config::SecretFile& file, const SecretData& data) {
  if (!file.field) return file.secret + " has fields: say which with `field`";
  std::string message = file.secret + " has no field `" + *file.field + "`";
  std::string names;
  std::size_t shown = 0;
  for (const auto& [name, text] : data.fields) {
    if (shown++ == kFieldNamesShownMax) {
      names += ", …";
      break;
    }
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? message + " (it is empty)" : message + " (it has: " + names + ")";
}

double seconds_between(MonotonicTime from, MonotonicTime to) {
  return std::chrono::duration<double>(to - from).count();
}

void append_field(std::string& out, std::string_view name, std::string_view text) {
  if (out.back() != '{') out += ',';
  append_json_string(out, name);
  out += ':';
  append_json_string(out, text);
}

void append_number(std::string& out, std::string_view name, std::int64_t value) {
  out += ',';
  append_json_string(out, name);
  out += ':' + std::to_string(value);
}

}  // namespace

SecretFiles::SecretFiles(const Clock& clock, Registry& registry, IssuedValues& issued)
    : clock_(clock),
      issued_(issued),
      written_(registry.counter("pillion_secrets_files_written_total",
                                "Times a secret file was written anew.")),
      write_failures_(registry.counter("pillion_secrets_file_failures_total",
                                       "Times a secret file could not be rendered or written.")) {
  registry.add_collector([this](MetricsWriter& writer) { collect(writer); });
}

void SecretFiles::apply(const std::vector<config::SecretFile>& files) {
  std::vector<Entry> entries;
  for (const auto& file : files) {
    const auto known = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.config == file; });
    if (known != entries_.end()) {
      entries.push_back(std::move(*known));
      entries_.erase(known);
      continue;
    }
    Entry entry;
    entry.config = file;
    entry.id = {file.source, file.secret};
    entry.target = target_of(file);
    remove_stale_temporaries(file.path);
    entries.push_back(std::move(entry));
  }
  for (const Entry& removed : entries_) {
    const auto same_path = [&](const Entry& entry) {
      return entry.config.path == removed.config.path;
    };
    if (std::none_of(entries.begin(), entries.end(), same_path)) {
      log::info("{} is not configured any more: the file stays as it is", removed.config.path);
    }
  }
  entries_ = std::move(entries);
}

std::vector<SecretId> SecretFiles::wanted() const {
  std::vector<SecretId> ids;
  for (const Entry& entry : entries_) ids.push_back(entry.id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

const SecretText* SecretFiles::find_text(const Entry& entry, const SecretData& data) {
  if (!entry.config.field) return data.whole ? &*data.whole : nullptr;
  const auto found = data.fields.find(*entry.config.field);
  return found == data.fields.end() ? nullptr : &found->second;
}

bool SecretFiles::needs_write(Entry& entry, const SecretText& text) {
  const auto stamp = stamp_of(entry.target.path);
  if (entry.stamp && stamp && *stamp == *entry.stamp) {
    return digest_of(text.reveal()) != entry.digest;
  }
  // Ours from an earlier run, perhaps: adopted when it is right in content, owner and mode.
  return !is_up_to_date(entry.target, text.reveal());
}

bool SecretFiles::update(const SecretId& id, const SecretData& data) {
  struct Render {
    Entry* entry;
    const SecretText* text;
    std::optional<PreparedFile> prepared;
  };
  std::vector<Render> renders;
  bool is_good = true;
  for (Entry& entry : entries_) {
    if (entry.id != id) continue;
    const SecretText* text = find_text(entry, data);
    if (text) {
      issued_.issue(entry.target.path, *text);  // before anybody can read it, let alone log it
      renders.push_back({&entry, text, std::nullopt});
    } else {
      is_good = false;
      set_problem(entry, missing_field(entry.config, data));
    }
  }
  for (Render& render : renders) {
    if (!is_good || !needs_write(*render.entry, *render.text)) continue;
    auto prepared = PreparedFile::prepare(render.entry->target, render.text->reveal());
    if (prepared) {
      render.prepared.emplace(std::move(*prepared));
    } else {
      is_good = false;
      set_problem(*render.entry, prepared.error().message());
    }
  }
  for (Render& render : renders) {
    Entry& entry = *render.entry;
    if (!is_good) {
      if (entry.problem.empty()) {
        set_problem(entry,
                    "another file of " + id.name + " cannot be written; they change together");
      }
      continue;
    }
    if (!render.prepared) {
      if (!entry.stamp) {
        note_written(entry, stamp_of(entry.target.path).value_or(FileStamp()), *render.text,
                     data.version);
      }
      entry.version = data.version;
      clear_problem(entry);
      continue;
    }
    auto stamp = render.prepared->commit();
    if (!stamp) {
      is_good = false;
      set_problem(entry, stamp.error().message());
      continue;
    }
    written_.add();
    note_written(entry, *stamp, *render.text, data.version);
    clear_problem(entry);
    if (data.version > 0) {
      log::info("wrote {} (version {} of {})", entry.target.path, data.version, id.name);
    } else {
      log::info("wrote {} (from {})", entry.target.path, id.name);
    }
  }
  return is_good;
}

void SecretFiles::note_written(Entry& entry, const FileStamp& stamp, const SecretText& text,
                               std::uint64_t version) {
  entry.stamp = stamp;
  entry.digest = digest_of(text.reveal());
  entry.version = version;
  entry.written_at = clock_.wall_now();
  entry.changed_at = clock_.now();
}

void SecretFiles::report_failure(const SecretId& id, const Error& why) {
  for (Entry& entry : entries_) {
    if (entry.id == id) set_problem(entry, why.message());
  }
}

void SecretFiles::set_problem(Entry& entry, const std::string& problem) {
  write_failures_.add();
  if (!entry.stale_since) entry.stale_since = clock_.now();
  if (entry.problem == problem) return;  // said once, not at every retry
  entry.problem = problem;
  log::warn("{} {}: {}", entry.config.path, entry.stamp ? "stays as it is" : "is not written yet",
            problem);
}

void SecretFiles::clear_problem(Entry& entry) {
  if (entry.stale_since && !entry.problem.empty()) {
    log::info("{} is up to date again", entry.config.path);
  }
  entry.problem.clear();
  entry.stale_since.reset();
}

bool SecretFiles::is_complete() const {
  return std::all_of(entries_.begin(), entries_.end(),
                     [](const Entry& entry) { return entry.stamp.has_value(); });
}

bool SecretFiles::is_tried() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.stamp.has_value() || !entry.problem.empty();
  });
}

std::string SecretFiles::waiting_for() const {
  std::string text;
  std::size_t more = 0;
  for (const Entry& entry : entries_) {
    if (entry.stamp) continue;
    if (!text.empty()) {
      ++more;
      continue;
    }
    text = entry.config.secret + " for " + entry.config.path;
    if (!entry.problem.empty()) text += ": " + entry.problem;
  }
  return more == 0 ? text : text + " (and " + std::to_string(more) + " more)";
}

std::string SecretFiles::to_json() const {
  const MonotonicTime now = clock_.now();
  std::string out = "[";
  for (const Entry& entry : entries_) {
    if (out.size() > 1) out += ',';
    out += '{';
    append_field(out, "path", entry.config.path);
    append_field(out, "source", config::name_of(entry.config.source));
    append_field(out, "secret", entry.config.secret);
    if (entry.config.field) append_field(out, "field", *entry.config.field);
    append_field(out, "state", !entry.stamp ? "waiting" : entry.stale_since ? "stale" : "current");
    append_number(out, "version", static_cast<std::int64_t>(entry.version));
    if (entry.stamp) {
      const auto written_at = std::chrono::time_point_cast<std::chrono::seconds>(entry.written_at);
      append_field(out, "written_at",
                   fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                               fmt::gmtime(std::chrono::system_clock::to_time_t(written_at))));
      append_number(out, "age_seconds",
                    static_cast<std::int64_t>(seconds_between(entry.changed_at, now)));
    }
    if (entry.stale_since) {
      append_number(out, "stale_seconds",
                    static_cast<std::int64_t>(seconds_between(*entry.stale_since, now)));
    }
    if (!entry.problem.empty()) append_field(out, "problem", entry.problem);
    out += '}';
  }
  return out + "]";
}

void SecretFiles::collect(MetricsWriter& writer) const {
  const MonotonicTime now = clock_.now();
  const auto labels = [](const Entry& entry) { return Labels{{"path", entry.config.path}}; };
  writer.begin_family("pillion_secrets_file_written", MetricType::Gauge,
                      "1 when the file has been written since the start, else 0.");
  for (const Entry& entry : entries_) {
    writer.sample(labels(entry), std::uint64_t{entry.stamp ? 1u : 0u});
  }
  writer.begin_family("pillion_secrets_file_version", MetricType::Gauge,
                      "Version of the secret in the file; 0 when the source has none.");
  for (const Entry& entry : entries_) writer.sample(labels(entry), entry.version);
  writer.begin_family("pillion_secrets_file_age_seconds", MetricType::Gauge,
                      "Time since the content of the file last changed.");
  for (const Entry& entry : entries_) {
    if (entry.stamp) writer.sample(labels(entry), seconds_between(entry.changed_at, now));
  }
  writer.begin_family("pillion_secrets_file_stale_seconds", MetricType::Gauge,
                      "Time since reading or writing began to fail; 0 while it works.");
  for (const Entry& entry : entries_) {
    writer.sample(labels(entry),
                  entry.stale_since ? seconds_between(*entry.stale_since, now) : 0.0);
  }
}

}  // namespace pillion::secrets
