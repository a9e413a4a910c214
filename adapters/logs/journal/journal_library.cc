#include "adapters/logs/journal/journal_library.h"

#include <dlfcn.h>

#include <string>

namespace pillion::logs {
namespace {

constexpr const char* kFile = "libsystemd.so.0";

template<class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

bool find_all(void* library, JournalLibrary& j) {
  return find(library, "sd_journal_open", j.open) &&
         find(library, "sd_journal_open_directory", j.open_directory) &&
         find(library, "sd_journal_close", j.close) &&
         find(library, "sd_journal_add_match", j.add_match) &&
         find(library, "sd_journal_add_disjunction", j.add_disjunction) &&
         find(library, "sd_journal_seek_head", j.seek_head) &&
         find(library, "sd_journal_seek_tail", j.seek_tail) &&
         find(library, "sd_journal_seek_cursor", j.seek_cursor) &&
         find(library, "sd_journal_test_cursor", j.test_cursor) &&
         find(library, "sd_journal_get_cursor", j.get_cursor) &&
         find(library, "sd_journal_next", j.next) &&
         find(library, "sd_journal_previous", j.previous) &&
         find(library, "sd_journal_get_realtime_usec", j.get_realtime_usec) &&
         find(library, "sd_journal_restart_data", j.restart_data) &&
         find(library, "sd_journal_enumerate_data", j.enumerate_data) &&
         find(library, "sd_journal_set_data_threshold", j.set_data_threshold) &&
         find(library, "sd_journal_get_fd", j.get_fd) &&
         find(library, "sd_journal_process", j.process);
}

}  // namespace

Result<const JournalLibrary*> JournalLibrary::load() {
  static JournalLibrary functions;
  static bool is_loaded = false;
  if (is_loaded) return &functions;
  void* const library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail(std::string("cannot load ") + kFile + " (" + ::dlerror() +
                "); install the package libsystemd0");
  }
  if (!find_all(library, functions)) return fail(std::string(kFile) + " lacks the journal");
  is_loaded = true;
  return &functions;
}

}  // namespace pillion::logs
