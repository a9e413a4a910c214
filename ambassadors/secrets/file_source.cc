#include "ambassadors/secrets/file_source.h"

#include <unistd.h>

#include <cerrno>

#include "ambassadors/secrets/field_text.h"
#include "runtime/fd.h"

namespace pillion::secrets {
namespace {

constexpr auto kLookInterval = std::chrono::milliseconds(250);
constexpr unsigned kLooksBetweenRetries = 4;  // a second
constexpr std::size_t kFileBytesMax = 1u << 20;

}  // namespace

Result<SecretData> read_secret_file(const std::string& path, bool with_fields) {
  auto content = read_file(path, kFileBytesMax);
  if (!content) {
    if (content.error().errno_value() != EACCES) return fail(content.error());
    return fail(Error(content.error().message() + " (it must be readable by uid " +
                          std::to_string(::geteuid()) + ")",
                      EACCES));
  }
  SecretData data;
  if (with_fields) {
    auto fields = parse_fields(*content);
    if (!fields) {
      wipe(*content);
      return fail("cannot use " + path + ": " + fields.error().message());
    }
    data.fields = std::move(*fields);
  }
  data.whole = SecretText::take(*content);
  return data;
}

FileSource::FileSource(Loop& loop, Callbacks callbacks)
    : callbacks_(std::move(callbacks)), timer_(loop) {}

void FileSource::apply(std::map<std::string, bool> with_fields_of_path) {
  std::map<std::string, Watch> watches;
  for (const auto& [path, with_fields] : with_fields_of_path) {
    // Delivered again even when known: the files that are rendered from it may be new.
    watches[path].with_fields = with_fields;
  }
  watches_ = std::move(watches);
  if (watches_.empty()) {
    timer_.stop();
  } else {
    timer_.start(Duration::zero(), kLookInterval, [this] { look_at_all(); });
  }
}

void FileSource::read_again() {
  for (auto& [path, watch] : watches_) watch.is_new = true;
}

void FileSource::look_at_all() {
  for (auto& [path, watch] : watches_) look_at(path, watch);
}

void FileSource::look_at(const std::string& path, Watch& watch) {
  const auto stamp = stamp_of(path);
  // A file that is being written in place changes between two looks: it is read when it stood
  // still, or at once at the start.
  const bool is_settled = watch.is_new || stamp == watch.seen;
  watch.seen = stamp;
  if (!is_settled) return;
  if (watch.is_new || stamp != watch.tried) return read(path, watch);
  // Unchanged, but of no use so far: perhaps the permissions of a folder or the target were at
  // fault.
  if (watch.is_delivered || !stamp) return;
  if (watch.looks_until_retry-- == 0) read(path, watch);
}

void FileSource::read(const std::string& path, Watch& watch) {
  const SecretId id{config::SecretSource::File, path};
  auto data = read_secret_file(path, watch.with_fields);
  const bool is_torn = stamp_of(path) != watch.seen;
  if (is_torn) return;  // the next look comes soon
  watch.is_new = false;
  watch.tried = watch.seen;
  watch.looks_until_retry = kLooksBetweenRetries;
  watch.is_delivered = data && callbacks_.on_data(id, *data);
  if (!data) callbacks_.on_failure(id, data.error());
}

}  // namespace pillion::secrets
