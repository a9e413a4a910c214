// What has been handed out, told to those who keep it out of logs: a file of fingerprints (see
// runtime/fingerprints.h), never the values.
//
// A value gets its fingerprint before it is written or sent, so that nobody can log it before the
// readers of the file can know it. One that was replaced stays for a week: logs may be read late.
// Fingerprints of an earlier run are taken over. What is shorter than eight bytes cannot be told.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ambassadors/secrets/secret_data.h"
#include "runtime/clock.h"
#include "runtime/fingerprints.h"
#include "runtime/result.h"

namespace pillion::secrets {

// How a value may stand in a log: as it is, percent-encoded (in a URL), in base64; of one with
// several lines each line of at least 16 bytes, and what stands behind KEY=.
std::vector<std::string> spellings_of(std::string_view value);

// What an answer of Vault (JSON) gives away: the strings of `data` (of KV v2 those in its `data`),
// and tokens. Of paths below sys/ and auth/ only tokens.
std::vector<std::string> values_in_answer(std::string_view path, std::string_view body);

class IssuedValues {
 public:
  // An empty path: nothing is kept or written.
  IssuedValues(const Clock& clock, std::string path);

  bool is_on() const { return !path_.empty(); }
  // `place` (a file's path) holds this value from now on; what it held before is retired.
  void issue(const std::string& place, const SecretText& value);
  // Sent to the app, which keeps it where we do not know.
  void issue_to_app(std::string_view path, std::string_view body);

 private:
  void take_over();
  std::set<std::string> add(const std::vector<std::string>& spellings);
  void write();
  std::int64_t now() const;
  void forget_old();

  const Clock& clock_;
  std::string path_;
  FingerprintKey key_;
  std::map<std::string, Fingerprint> values_;             // by digest
  std::map<std::string, std::set<std::string>> current_;  // digests by place
  bool is_changed_ = false;
  bool has_failed_ = false;
};

}  // namespace pillion::secrets
