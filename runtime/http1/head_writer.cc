#include "runtime/http1/head_writer.h"

#include <charconv>

namespace pillion::http1 {
namespace {

struct Phrase {
  int status;
  std::string_view text;
};

// RFC 9110 §15, and what else is answered here.
constexpr Phrase kPhrases[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {508, "Loop Detected"},
};

}  // namespace

void HeadWriter::request_line(std::string_view method, std::string_view target) {
  out_.append(method).append(1, ' ').append(target).append(" HTTP/1.1\r\n");
}

void HeadWriter::status_line(int status, std::string_view reason) {
  const char digits[] = {static_cast<char>('0' + status / 100),
                         static_cast<char>('0' + status / 10 % 10),
                         static_cast<char>('0' + status % 10), ' '};
  out_.append("HTTP/1.1 ").append(digits, sizeof digits).append(reason).append("\r\n");
}

// Lines that were validated and are in canonical form already are copied in runs.
void HeadWriter::fields(const Fields& fields) {
  const char* base = fields.base();
  const char* run_begin = nullptr;
  const char* run_end = nullptr;
  for (const Field& one : fields.all()) {
    const char* line = base + one.name_begin;
    const bool is_copied = one.is_canonical && !one.is_removed;
    if (run_begin != nullptr && (!is_copied || line != run_end)) {
      out_.append(run_begin, static_cast<std::size_t>(run_end - run_begin));
      run_begin = nullptr;
    }
    if (is_copied) {
      if (run_begin == nullptr) run_begin = line;
      run_end = base + one.value_begin + one.value_size + 2;
    } else if (!one.is_removed) {
      field(fields.name(one), fields.value(one));
    }
  }
  if (run_begin != nullptr) out_.append(run_begin, static_cast<std::size_t>(run_end - run_begin));
}

void HeadWriter::field(std::string_view name, std::string_view value) {
  out_.append(name).append(": ").append(value).append("\r\n");
}

void HeadWriter::content_length(std::uint64_t length) {
  char digits[20];
  const auto result = std::to_chars(digits, digits + sizeof digits, length);
  field("Content-Length", {digits, static_cast<std::size_t>(result.ptr - digits)});
}

std::string_view reason_phrase(int status) {
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return phrase.text;
  }
  return "";
}

}  // namespace pillion::http1
