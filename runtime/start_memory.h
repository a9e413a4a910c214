// What only the start needed is given back: a helper beside a small app should not hold the pages
// of a configuration parser that it runs once. Called again after a reload.
#pragma once

namespace pillion {

// Freed heap goes back to the kernel, and the pages of program and libraries that are never written
// (code, symbol tables, constants) leave the address space; those that are used come back from the
// page cache one fault at a time. Any thread, while others run.
void return_start_memory();

}  // namespace pillion
