// What became of the records of one input at one output.
#pragma once

#include <cstdint>
#include <string>

namespace pillion::logs {

// read = delivered + dropped + pending, in records. Always true: pending is derived.
struct Ledger {
  std::uint64_t read = 0;
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t filtered = 0;  // left out by the output's filter; not among those read
  std::uint64_t pending() const { return read - delivered - dropped; }

  Ledger& operator+=(const Ledger& more) {
    read += more.read;
    delivered += more.delivered;
    dropped += more.dropped;
    filtered += more.filtered;
    return *this;
  }
  bool operator==(const Ledger&) const = default;
};

struct InputLedger {
  std::string input;  // as people know it: a path, "child app", "syslog 127.0.0.1:514"
  Ledger counts;
  bool operator==(const InputLedger&) const = default;
};

}  // namespace pillion::logs
