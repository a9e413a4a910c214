// sd-journal(3), loaded when an input asks for the journal: the program runs where systemd is not.
#pragma once

#include <systemd/sd-journal.h>

#include "runtime/result.h"

namespace pillion::logs {

// The functions that we call, by their names in sd-journal.h.
struct JournalLibrary {
  decltype(&::sd_journal_open) open;
  decltype(&::sd_journal_open_directory) open_directory;
  decltype(&::sd_journal_close) close;
  decltype(&::sd_journal_add_match) add_match;
  decltype(&::sd_journal_add_disjunction) add_disjunction;
  decltype(&::sd_journal_seek_head) seek_head;
  decltype(&::sd_journal_seek_tail) seek_tail;
  decltype(&::sd_journal_seek_cursor) seek_cursor;
  decltype(&::sd_journal_test_cursor) test_cursor;
  decltype(&::sd_journal_get_cursor) get_cursor;
  decltype(&::sd_journal_next) next;
  decltype(&::sd_journal_previous) previous;
  decltype(&::sd_journal_get_realtime_usec) get_realtime_usec;
  decltype(&::sd_journal_restart_data) restart_data;
  decltype(&::sd_journal_enumerate_data) enumerate_data;
  decltype(&::sd_journal_set_data_threshold) set_data_threshold;
  decltype(&::sd_journal_get_fd) get_fd;
  decltype(&::sd_journal_process) process;

  // The same object each time; the error says which package is missing.
  static Result<const JournalLibrary*> load();
};

}  // namespace pillion::logs
