#include "supervisor/host/state_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file_replacement.h"
#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr char kStoredName[] = "state";
constexpr auto kRetryPeriod = std::chrono::seconds(1);
constexpr std::size_t kStateBytesMax = 16u << 20;

}  // namespace

bool StateFile::keep(const std::string& text) {
  const Fd file(::memfd_create("pillion-state", MFD_CLOEXEC));
  if (!file || !write_all(file.get(), text)) return false;
  return keeper_.put_fd(kStoredName, file.get()).has_value();
}

// While the keeper holds one, it gets the new one first: whichever of the two a next supervisor
// finds with the keeper is then as new as the one on disk.
void StateFile::write(std::string text) {
  if (is_kept_) static_cast<void>(keep(text));
  auto written = replace_file(path_, text, 0600, Survives::ProcessCrash);
  if (written) {
    if (is_kept_) keeper_.remove_fd(kStoredName);
    if (has_complained_) log::info("the service's state is on disk again");
    is_kept_ = has_complained_ = false;
    retry_.stop();
    return;
  }
  if (!is_kept_) is_kept_ = keep(text);
  if (!has_complained_) {
    log::error("{}; {}", written.error().message(),
               is_kept_ ? "the keeper holds the service's state until that works again"
                        : "a crash of the supervisor would lose state");
  }
  has_complained_ = true;
  retry_.start(kRetryPeriod, [this, text = std::move(text)] { write(text); });
}

std::optional<std::string> StateFile::read() {
  if (auto kept = keeper_.get_fd(kStoredName)) {
    struct stat status {};
    if (::fstat(kept->get(), &status) == 0) {
      std::string text(static_cast<std::size_t>(status.st_size), '\0');
      if (::pread(kept->get(), text.data(), text.size(), 0) == status.st_size) {
        is_kept_ = has_complained_ = true;
        return text;
      }
    }
  }
  auto text = read_file(path_, kStateBytesMax);
  if (!text) return std::nullopt;
  return std::move(*text);
}

void StateFile::remove() {
  retry_.stop();
  if (is_kept_) keeper_.remove_fd(kStoredName);
  ::unlink(path_.c_str());
}

}  // namespace pillion::supervisor::host
