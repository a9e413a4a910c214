#include "adapters/logs/journal/journal_follower.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "adapters/logs/follow/checkpoint.h"
#include "runtime/log.h"

namespace pillion::logs {
namespace {

Error journal_error(const std::string& what, int negative_errno) {
  return Error::from_errno(what, -negative_errno);
}

std::string unit_name(const std::string& unit) {
  return unit.find('.') == std::string::npos ? unit + ".service" : unit;
}

}  // namespace

Result<void> check_journal(const JournalOptions& options) {
  if (const auto library = JournalLibrary::load(); !library) return fail(library.error());
  struct stat facts;
  if (!options.directory.empty() &&
      (::stat(options.directory.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode))) {
    return fail("there is no directory " + options.directory);
  }
  for (const std::string& match : options.match) {
    const std::size_t equals = match.find('=');
    const bool is_valid =
        equals != std::string::npos && equals > 0 &&
        match.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == equals;
    if (!is_valid) {
      return fail("\"" + match + "\" is no match; say \"FIELD=value\", the field in capitals");
    }
  }
  return {};
}

JournalFollower::JournalFollower(Loop& loop, JournalOptions options, std::string cursor,
                                 std::function<void()> wake)
    : loop_(loop),
      options_(std::move(options)),
      wake_(std::move(wake)),
      encoder_(options_.make_encoder()),
      entry_(options_.value_bytes_max),
      cursor_(cursor),
      acknowledged_(std::move(cursor)) {
  tick();
}

JournalFollower::~JournalFollower() { close(); }

void JournalFollower::close() {
  poll_.reset();
  if (journal_ != nullptr) library_->close(journal_);
  journal_ = nullptr;
}

void JournalFollower::tick() {
  is_dirty_ = true;
  if (journal_ != nullptr) return;
  const auto opened = open();
  const std::string trouble = opened ? "" : opened.error().message();
  if (!trouble.empty() && trouble != trouble_) log::error("{}; trying again", trouble);
  trouble_ = trouble;
}

Result<void> JournalFollower::open() {
  const auto library = JournalLibrary::load();
  if (!library) return fail(library.error());
  library_ = *library;
  const int opened = options_.directory.empty()
                         ? library_->open(&journal_, SD_JOURNAL_LOCAL_ONLY)
                         : library_->open_directory(&journal_, options_.directory.c_str(), 0);
  if (opened < 0) {
    journal_ = nullptr;
    return fail(journal_error("cannot open the " + options_.name, opened));
  }
  library_->set_data_threshold(journal_, options_.value_bytes_max);
  if (auto added = add_matches(); !added) {
    close();
    return added;
  }
  seek();
  if (const int fd = library_->get_fd(journal_); fd >= 0) {
    poll_.emplace(loop_, fd);
    poll_->start(kReadable, [this](int, int) {
      library_->process(journal_);
      is_dirty_ = true;
      wake_();
    });
  }
  return {};
}

// As journalctl --unit does: what the unit's processes say, or what systemd says about it.
Result<void> JournalFollower::add_matches() {
  const auto add = [&](const std::string& match) -> Result<void> {
    const int added = library_->add_match(journal_, match.data(), match.size());
    if (added < 0) return fail(journal_error("cannot match \"" + match + "\"", added));
    return {};
  };
  const auto add_own = [&]() -> Result<void> {
    Result<void> result;
    for (const std::string& match : options_.match) {
      if (result) result = add(match);
    }
    return result;
  };
  Result<void> result;
  for (const std::string& unit : options_.units) {
    if (result) result = add("_SYSTEMD_UNIT=" + unit_name(unit));
  }
  if (result) result = add_own();
  if (!result || options_.units.empty()) return result;
  library_->add_disjunction(journal_);
  for (const std::string& unit : options_.units) {
    if (result) result = add("UNIT=" + unit_name(unit));
  }
  if (result) result = add("_PID=1");
  return result ? add_own() : result;
}

void JournalFollower::seek() {
  has_current_ = false;
  if (cursor_.empty()) {
    if (options_.starts_at_end) {
      library_->seek_tail(journal_);
      library_->previous(journal_);  // the next entry is the first new one
    } else {
      library_->seek_head(journal_);
    }
    return;
  }
  if (library_->seek_cursor(journal_, cursor_.c_str()) < 0) {
    log::warn("the {} does not know the checkpoint's cursor; reading it from its start",
              options_.name);
    library_->seek_head(journal_);
    return;
  }
  // At the entry itself, or, when that is gone, at the next.
  has_current_ =
      library_->next(journal_) > 0 && library_->test_cursor(journal_, cursor_.c_str()) == 0;
}

// Whether the journal stands at an entry that is to be read.
Result<bool> JournalFollower::next() {
  if (std::exchange(has_current_, false)) return true;
  const int moved = library_->next(journal_);
  if (moved < 0) return fail(journal_error("cannot read the " + options_.name, moved));
  return moved > 0;
}

void JournalFollower::fill_entry() {
  std::uint64_t realtime = 0;
  library_->get_realtime_usec(journal_, &realtime);
  entry_.begin(realtime);
  library_->restart_data(journal_);
  const void* data = nullptr;
  std::size_t length = 0;
  while (library_->enumerate_data(journal_, &data, &length) > 0) {
    entry_.add({static_cast<const char*>(data), length});
  }
  line_.assign(entry_.finish());
  char* cursor = nullptr;
  if (library_->get_cursor(journal_, &cursor) >= 0) {
    cursor_ = cursor;
    std::free(cursor);
  }
}

bool JournalFollower::read(RecordBuffer& records, std::size_t records_bytes_max,
                           std::int64_t wall_ns) {
  if (!is_dirty_ || journal_ == nullptr) return false;
  encoder_.set_observed_time(wall_ns);
  while (records.size() < records_bytes_max) {
    const auto has_entry = next();
    if (!has_entry) {  // a file that was removed, a disk: opened anew at the next look
      log::error("{}", has_entry.error().message());
      close();
      return false;
    }
    if (!*has_entry) {
      is_dirty_ = false;
      return false;
    }
    fill_entry();
    const std::size_t length = line_.size();
    line_.reserve(length + kScanPadding);
    encoder_.set_document_id(hash64(cursor_));
    encoder_.encode(line_, 0, records);
    bytes_read_ += length;
  }
  return true;
}

}  // namespace pillion::logs
