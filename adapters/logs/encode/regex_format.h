// `format = "regex"`: a Perl-compatible regular expression whose named groups become fields. PCRE2,
// compiled to machine code where the library can (JIT).
//
// `%{NAME}` and `%{NAME:field}` are replaced by the patterns that grok users know (WORD, INT,
// NUMBER, IP, HOSTNAME, UUID, TIMESTAMP_ISO8601, LOGLEVEL, DATA, GREEDYDATA, QUOTEDSTRING, …).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/layout.h"
#include "runtime/result.h"

namespace pillion::logs {

class RegexFormat {
 public:
  // The error names the character where the expression went wrong, from 1. With
  // `needs_groups`, fails for an expression without named ones: it would find nothing.
  static Result<std::shared_ptr<RegexFormat>> compile(const std::string& expression,
                                                      bool needs_groups = true);
  ~RegexFormat();

  struct Group {
    unsigned number;
    FieldRole role;
    std::string name;  // with room behind it for vector loads
    bool is_time;
    bool is_level;
  };
  const std::vector<Group>& groups() const { return groups_; }

  enum class Match { No, Yes, GaveUp };
  // Remembers the groups of a match for group(). GaveUp: the expression backtracked too often.
  // Looks from `from` on; what stands before counts for look-behind and \b.
  Match match(std::string_view line, std::size_t from = 0);
  // What group `number` matched; data() is null when it took no part.
  std::string_view group(unsigned number) const;

 private:
  struct Compiled;
  explicit RegexFormat(std::unique_ptr<Compiled> compiled);

  std::unique_ptr<Compiled> compiled_;
  std::vector<Group> groups_;
};

}  // namespace pillion::logs
