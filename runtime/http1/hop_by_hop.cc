#include "runtime/http1/hop_by_hop.h"

namespace pillion::http1 {
namespace {

bool is_always_removed(FieldId id) {
  switch (id) {
    case FieldId::Connection:
    case FieldId::KeepAlive:
    case FieldId::ProxyConnection:
    case FieldId::Te:
    case FieldId::TransferEncoding:
    case FieldId::ContentLength: return true;
    default: return false;
  }
}

bool is_protected(FieldId id) {
  switch (id) {
    case FieldId::Host:
    case FieldId::ContentLength:
    case FieldId::TransferEncoding:
    case FieldId::Authorization:
    case FieldId::Forwarded:
    case FieldId::Trace:
    case FieldId::RequestId:
    case FieldId::Via: return true;
    default: return false;
  }
}

bool equal_names(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool is_letter = (a[i] | 0x20) >= 'a' && (a[i] | 0x20) <= 'z';
    if (a[i] != b[i] && !(is_letter && (a[i] | 0x20) == (b[i] | 0x20))) return false;
  }
  return true;
}

// What every connection says; it nominates no field.
bool is_connection_option(std::string_view element) {
  return equals_ignoring_case(element, "keep-alive") || equals_ignoring_case(element, "close") ||
         equals_ignoring_case(element, "upgrade") || equals_ignoring_case(element, "te");
}

std::size_t remove_nominated(Fields& fields, std::string_view options) {
  std::size_t ignored = 0;
  std::string_view element;
  while (next_list_element(options, element)) {
    if (element.empty() || is_connection_option(element)) continue;
    if (is_protected(classify_field(element))) {
      ++ignored;
      continue;
    }
    for (Field& field : fields.all()) {
      if (equal_names(fields.name(field), element)) field.is_removed = true;
    }
  }
  return ignored;
}

}  // namespace

std::size_t remove_hop_by_hop(Fields& fields, bool keeps_upgrade) {
  std::size_t ignored = 0;
  for (Field& field : fields.all()) {
    if (field.id == FieldId::Other) continue;
    if (is_always_removed(field.id) || (field.id == FieldId::Upgrade && !keeps_upgrade)) {
      field.is_removed = true;
    }
    if (field.id == FieldId::Connection) ignored += remove_nominated(fields, fields.value(field));
  }
  return ignored;
}

bool is_nominated(const Fields& fields, std::string_view name) {
  if (!fields.has(FieldId::Connection)) return false;
  for (const Field& field : fields.all()) {
    if (field.id != FieldId::Connection) continue;
    std::string_view rest = fields.value(field);
    std::string_view element;
    while (next_list_element(rest, element)) {
      if (equal_names(element, name)) return true;
    }
  }
  return false;
}

void remove_forbidden_trailers(Fields& trailers) {
  for (Field& field : trailers.all()) {
    const std::string_view name = trailers.name(field);
    const bool is_forbidden =
        is_always_removed(field.id) || is_protected(field.id) || field.id == FieldId::Upgrade ||
        field.id == FieldId::Trailer || field.id == FieldId::Expect ||
        field.id == FieldId::ContentType || equals_ignoring_case(name, "content-encoding") ||
        equals_ignoring_case(name, "content-range") || equals_ignoring_case(name, "cookie") ||
        equals_ignoring_case(name, "set-cookie") || equals_ignoring_case(name, "cache-control") ||
        equals_ignoring_case(name, "max-forwards") || equals_ignoring_case(name, "range") ||
        starts_with_ignoring_case(name, "proxy-") || starts_with_ignoring_case(name, "www-");
    if (is_forbidden) field.is_removed = true;
  }
}

}  // namespace pillion::http1
