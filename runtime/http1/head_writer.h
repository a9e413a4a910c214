// Writes a message head from the parsed model; framing is always written anew, never copied. The
// output is appended to a string whose capacity the caller reuses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/http1/head.h"

namespace pillion::http1 {

class HeadWriter {
 public:
  explicit HeadWriter(std::string& out) : out_(out) {}

  // "METHOD target HTTP/1.1".
  void request_line(std::string_view method, std::string_view target);
  // "HTTP/1.1 status reason".
  void status_line(int status, std::string_view reason);

  // The fields that are not removed, in order, letter case kept.
  void fields(const Fields& fields);
  void field(std::string_view name, std::string_view value);
  void content_length(std::uint64_t length);
  void chunked() { out_.append("Transfer-Encoding: chunked\r\n"); }
  void end() { out_.append("\r\n"); }

 private:
  std::string& out_;
};

// The standard reason phrase, "" for a status without one.
std::string_view reason_phrase(int status);

}  // namespace pillion::http1
