#include "runtime/http1/head_writer.h"

#include <charconv>

namespace pillion::http1 {

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
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 508: return "Loop Detected";
    default: return "";
  }
}

}  // namespace pillion::http1
