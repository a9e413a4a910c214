#include "proxy/size_pool.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "proxy/reuse.h"
#include "runtime/result.h"

namespace pillion::proxy {
namespace {

constexpr std::size_t kStep = 64;
constexpr std::size_t kPooledMax = 4096;
constexpr std::size_t kLists = kPooledMax / kStep;
constexpr std::size_t kBytesKept = 256 * 1024;  // per list

// Before each block: how much it holds.
struct alignas(std::max_align_t) Header {
  std::size_t capacity = 0;
};

struct FreeBlock {
  FreeBlock* next = nullptr;
};

class FreeLists {
 public:
  ~FreeLists() { trim(); }
  FreeLists() = default;
  FreeLists(const FreeLists&) = delete;
  FreeLists& operator=(const FreeLists&) = delete;

  void* take(std::size_t list) {
    FreeBlock* block = heads_[list];
    if (block == nullptr) return nullptr;
    heads_[list] = block->next;
    --counts_[list];
    return block;
  }
  bool give(std::size_t list, void* block) {
    if (counts_[list] * (list + 1) * kStep >= kBytesKept) return false;
    heads_[list] = new (block) FreeBlock{heads_[list]};
    ++counts_[list];
    return true;
  }
  void trim() {
    for (std::size_t i = 0; i < kLists; ++i) {
      while (void* block = take(i)) std::free(static_cast<Header*>(block) - 1);
    }
  }

 private:
  std::array<FreeBlock*, kLists> heads_{};
  std::array<std::size_t, kLists> counts_{};
};

FreeLists& lists() {
  thread_local FreeLists lists;
  return lists;
}

bool is_pooled(std::size_t capacity) { return kIsReusing && capacity <= kPooledMax; }

std::size_t list_of(std::size_t capacity) { return capacity / kStep - 1; }

}  // namespace

void* pool_allocate(std::size_t size) {
  const std::size_t least = std::max<std::size_t>(size, 1);
  const std::size_t capacity = kIsReusing ? (least + kStep - 1) / kStep * kStep : least;
  if (is_pooled(capacity)) {
    if (void* block = lists().take(list_of(capacity))) return block;
  }
  auto* header = static_cast<Header*>(std::malloc(sizeof(Header) + capacity));
  PILLION_ASSERT(header != nullptr);
  header->capacity = capacity;
  return header + 1;
}

void pool_free(void* block) {
  if (block == nullptr) return;
  Header* header = static_cast<Header*>(block) - 1;
  if (is_pooled(header->capacity) && lists().give(list_of(header->capacity), block)) return;
  std::free(header);
}

void* pool_reallocate(void* block, std::size_t size) {
  if (block == nullptr) return pool_allocate(size);
  const std::size_t capacity = (static_cast<Header*>(block) - 1)->capacity;
  if (size <= capacity) return block;
  void* larger = pool_allocate(size);
  std::memcpy(larger, block, capacity);
  pool_free(block);
  return larger;
}

void pool_trim() { lists().trim(); }

}  // namespace pillion::proxy
