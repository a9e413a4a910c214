// Files of KEY=VALUE lines, as `env_file` names them.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace pillion::supervisor::host {

// One assignment per line. Blank lines and lines that begin with # are skipped, `export ` before a
// name is too. Names are [A-Za-z_][A-Za-z0-9_]*; a later one wins. A value
//   - as it is: spaces around it are cut off, everything else stays, # and quotes within included;
//   - in '…': taken literally;
//   - in "…": \" \\ \$ \` lose their backslash, \n and \t become that character, others stay.
// After a closing quote nothing may follow but spaces and a # comment. Nothing is expanded, and no
// value goes beyond its line. An error names `path` and the line: "/etc/app.env:3: …".
Result<std::map<std::string, std::string>> parse_env_file(std::string_view text,
                                                          std::string_view path);

}  // namespace pillion::supervisor::host
