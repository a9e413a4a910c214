// The access logs of Apache and nginx: common and combined log format.
// (https://httpd.apache.org/docs/2.4/logs.html). Part of the encoder's inner loops, see
// kernel_scan.h.
//
//   203.0.113.9 - ann [15/Jan/2024:14:32:01 +0000] "GET /orders HTTP/1.1" 200 512 "-" "curl/8.5"
//
// Fields get their names in the Elastic Common Schema; "-" means absent. What follows the format is
// the message.
#pragma once

#include "adapters/logs/encode/kernel_record.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

// Walks one line; every step returns false when the line is not of the format.
struct ClfReader {
  EncodeState& state;
  Cursor cursor;
  const char* p;
  const char* end;
  char* out;

  // A word up to the next space, which is skipped.
  bool read_word(Piece& word) {
    Text text = Text::Clean;
    const char* at = p;
    for (;;) {
      at = cursor.next();
      if (at == end || *at == ' ') break;
      if (*at != '=') text = Text::Raw;
    }
    if (at == p) return false;
    word = {p, at, text};
    p = at == end ? end : at + 1;
    return true;
  }

  // "…", then a space or the end of the line.
  bool read_quoted(Piece& quoted) {
    if (p == end || *p != '"' || cursor.next() != p) return false;
    Text text = Text::Clean;
    const char* escaped = nullptr;
    for (;;) {
      const char* const at = cursor.next();
      if (at == end) return false;
      if (at == escaped) continue;
      if (*at == '"') {
        quoted = {p + 1, at, text};
        p = at + 1;
        break;
      }
      if (*at == '\\') {
        text = Text::Backslash;
        escaped = at + 1;
      } else if (*at != ' ' && *at != '=' && text == Text::Clean) {
        text = Text::Raw;
      }
    }
    if (p == end) return true;
    if (*p != ' ') return false;
    cursor.next();
    ++p;
    return true;
  }

  // [15/Jan/2024:14:32:01 +0000] and the space behind it.
  bool read_time() {
    if (end - p < 28 || p[0] != '[' || p[18] != ':' || p[21] != ' ' || p[27] != ']') return false;
    if (!is_digit(p[19]) || !is_digit(p[20]) || p[19] > '6' || (p[19] == '6' && p[20] != '0')) {
      return false;
    }
    const std::string_view zone(p + 22, 5);
    MinuteCache& cache = state.clf_minute;
    if (!is_cached(cache, p + 1, 17, zone) && !fill_clf_minute(state, cache, p + 1, zone))
      return false;
    out = put(out, "\"@timestamp\":\"");
    out = put_seconds(cache, out, p + 19, nullptr, 0);
    out = put(out, "\",");
    state.scratch.has_time = true;
    cursor.next();  // the space inside the brackets
    p += 28;
    if (p < end && *p == ' ' && cursor.next() == p) ++p;
    return true;
  }

  template<std::size_t N>
  void put_field(const char (&name)[N], const Piece& piece) {
    if (piece.end - piece.begin == 1 && *piece.begin == '-') return;
    out = put(out, name);
    out = put_string(state, out, piece);
  }

  template<std::size_t N>
  bool put_number_field(const char (&name)[N], const Piece& piece) {
    if (piece.end - piece.begin == 1 && *piece.begin == '-') return true;
    if (*piece.begin == '-' || !is_plain_number(piece.begin, piece.end)) return false;
    out = put(out, name);
    out = put_clean(out, piece.begin, piece.end);
    *out++ = ',';
    return true;
  }

  // GET /orders HTTP/1.1; anything else that a client sent is the message.
  void put_request(const Piece& request) {
    const char* const method_end = find_space(request.begin, request.end);
    const char* url_end = request.end;
    while (url_end > method_end && *url_end != ' ') --url_end;
    const bool is_http = method_end < url_end && request.end - url_end > 6 &&
                         std::memcmp(url_end + 1, "HTTP/", 5) == 0;
    if (!is_http) {
      add_piece(state.scratch, request);
      return;
    }
    put_field("\"http.request.method\":", {request.begin, method_end, request.text});
    put_field("\"url.original\":", {method_end + 1, url_end, request.text});
    put_field("\"http.version\":", {url_end + 6, request.end, request.text});
  }

  static const char* find_space(const char* begin, const char* stop) {
    while (begin < stop && *begin != ' ') ++begin;
    return begin;
  }
};

inline char* parse_clf(EncodeState& state, char* out, const char* begin, const char* end) {
  ClfReader reader{state, Cursor(begin, end), begin, end, out};
  Piece host, identity, user, request, status, size;
  const bool has_head = reader.read_word(host) && reader.read_word(identity) &&
                        reader.read_word(user) && reader.read_time() &&
                        reader.read_quoted(request) && reader.read_word(status) &&
                        reader.read_word(size);
  bool is_clf = has_head;
  if (is_clf) {
    reader.put_field("\"source.address\":", host);
    reader.put_field("\"client.user.id\":", identity);
    reader.put_field("\"user.name\":", user);
    reader.put_request(request);
    is_clf = reader.put_number_field("\"http.response.status_code\":", status) &&
             reader.put_number_field("\"http.response.body.bytes\":", size);
  }
  if (!is_clf) {
    state.scratch.failure = "not a common or combined access log line";
    return nullptr;
  }
  Piece referrer, agent;
  const char* const rest = reader.p;
  if (reader.read_quoted(referrer) && reader.read_quoted(agent)) {
    reader.put_field("\"http.request.referrer\":", referrer);
    reader.put_field("\"user_agent.original\":", agent);
  } else {
    reader.p = rest;
  }
  if (reader.p < end) add_piece(state.scratch, {reader.p, end, Text::Raw});
  return put_message(state, reader.out);
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
