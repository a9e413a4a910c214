// Small blocks of memory that are reused instead of freed, by size, one set of lists per thread:
// for what HTTP/2 makes and drops with every stream. Blocks may be given back on another thread.
#pragma once

#include <cstddef>

namespace pillion::proxy {

// Never null. Aligned as malloc's.
void* pool_allocate(std::size_t size);
void pool_free(void* block);  // null is nothing
void* pool_reallocate(void* block, std::size_t size);
// Gives the calling thread's unused blocks back to the system.
void pool_trim();

// Inherit from it to have objects of a class in the pool.
struct Pooled {
  static void* operator new(std::size_t size) { return pool_allocate(size); }
  static void operator delete(void* block) { pool_free(block); }

 protected:
  ~Pooled() = default;
};

}  // namespace pillion::proxy
