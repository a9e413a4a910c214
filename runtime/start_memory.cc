#include "runtime/start_memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>
#include <vector>

namespace pillion {
namespace {

constexpr std::uintptr_t kPageBytes = 4096;

struct Range {
  void* begin;
  std::size_t size;
};

// Segments that may be written hold relocated pointers even where they are read-only by now
// (PT_GNU_RELRO lies inside of one): only what the file holds can be read from it again.
int note_segments(dl_phdr_info* object, std::size_t, void* data) {
  auto& ranges = *static_cast<std::vector<Range>*>(data);
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    const std::uintptr_t first = (begin + kPageBytes - 1) / kPageBytes * kPageBytes;
    const std::uintptr_t last = (begin + segment.p_memsz) / kPageBytes * kPageBytes;
    if (last > first) ranges.push_back({reinterpret_cast<void*>(first), last - first});
  }
  return 0;
}

}  // namespace

void return_start_memory() {
  malloc_trim(0);
  std::vector<Range> ranges;
  dl_iterate_phdr(&note_segments, &ranges);
  // All at the end, as the headers lie in what is dropped. Refused for what is not a file (vdso) or
  // is locked in memory; nothing is lost then.
  for (const Range& range : ranges) madvise(range.begin, range.size, MADV_DONTNEED);
}

}  // namespace pillion
