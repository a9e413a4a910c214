// Replacing a file as a whole: a reader sees the old content or the new one, never a part of it.
#pragma once

#include <string>
#include <string_view>

#include "runtime/result.h"

namespace pillion {

// What the new content must survive. A crash of any process costs nothing; a crash of the machine
// costs two flushes to the disk, several milliseconds each. Files of a runtime directory do not
// outlive a boot and need only the first.
enum class Survives { ProcessCrash, PowerLoss };

// Writes a temporary file beside `path` and renames it. `mode` is set as it is, whatever the umask.
Result<void> replace_file(const std::string& path, std::string_view content, unsigned mode,
                          Survives survives);

}  // namespace pillion
