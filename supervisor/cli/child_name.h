// "NAME/CHILD" and "NAME CHILD" on a command line.
#pragma once

#include <string>

namespace pillion::supervisor::cli {

// Moves what follows the last '/' of `name` to an empty `child`, unless `name` is a service's file.
void split_child(std::string& name, std::string& child);

}  // namespace pillion::supervisor::cli
