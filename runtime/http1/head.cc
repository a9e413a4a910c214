#include "runtime/http1/head.h"

#include <utility>

namespace pillion::http1 {
namespace {

struct KnownName {
  std::string_view lower;
  FieldId id;
};

constexpr KnownName kLength2[] = {{"te", FieldId::Te}};
constexpr KnownName kLength3[] = {{"via", FieldId::Via}};
constexpr KnownName kLength4[] = {{"host", FieldId::Host}, {"date", FieldId::Date}};
constexpr KnownName kLength6[] = {{"expect", FieldId::Expect}, {"server", FieldId::Server}};
constexpr KnownName kLength7[] = {
    {"trailer", FieldId::Trailer}, {"upgrade", FieldId::Upgrade}, {"baggage", FieldId::Trace}};
constexpr KnownName kLength9[] = {{"forwarded", FieldId::Forwarded},
                                  {"x-real-ip", FieldId::Forwarded}};
constexpr KnownName kLength10[] = {{"connection", FieldId::Connection},
                                   {"keep-alive", FieldId::KeepAlive},
                                   {"tracestate", FieldId::Trace},
                                   {"user-agent", FieldId::UserAgent}};
constexpr KnownName kLength11[] = {{"traceparent", FieldId::Trace}};
constexpr KnownName kLength12[] = {{"x-request-id", FieldId::RequestId},
                                   {"content-type", FieldId::ContentType}};
constexpr KnownName kLength13[] = {{"authorization", FieldId::Authorization}};
constexpr KnownName kLength14[] = {{"content-length", FieldId::ContentLength}};
constexpr KnownName kLength15[] = {{"x-forwarded-for", FieldId::Forwarded}};
constexpr KnownName kLength16[] = {{"proxy-connection", FieldId::ProxyConnection},
                                   {"x-forwarded-host", FieldId::Forwarded},
                                   {"x-forwarded-port", FieldId::Forwarded}};
constexpr KnownName kLength17[] = {{"transfer-encoding", FieldId::TransferEncoding},
                                   {"x-forwarded-proto", FieldId::Forwarded}};

constexpr KnownName kLength23[] = {{"x-forwarded-client-cert", FieldId::Forwarded}};

std::span<const KnownName> names_of_length(std::size_t length) {
  switch (length) {
    case 2: return kLength2;
    case 3: return kLength3;
    case 4: return kLength4;
    case 6: return kLength6;
    case 7: return kLength7;
    case 9: return kLength9;
    case 10: return kLength10;
    case 11: return kLength11;
    case 12: return kLength12;
    case 13: return kLength13;
    case 14: return kLength14;
    case 15: return kLength15;
    case 16: return kLength16;
    case 17: return kLength17;
    case 23: return kLength23;
    default: return {};
  }
}

std::string_view moved(std::string_view view, const char* from, const char* to) {
  return view.data() == nullptr ? view : std::string_view(to + (view.data() - from), view.size());
}

}  // namespace

FieldId classify_field(std::string_view name) {
  for (const KnownName& known : names_of_length(name.size())) {
    if (equals_ignoring_case(name, known.lower)) return known.id;
  }
  return FieldId::Other;
}

std::size_t Fields::count(FieldId id) const {
  if (!has(id)) return 0;
  std::size_t found = 0;
  for (const Field& field : all()) found += field.id == id ? 1 : 0;
  return found;
}

std::string_view Fields::find(FieldId id) const {
  if (!has(id)) return {};
  for (const Field& field : all()) {
    if (field.id == id) return value(field);
  }
  return {};
}

const Field* Fields::find(std::string_view lower) const {
  for (const Field& field : all()) {
    if (equals_ignoring_case(name(field), lower)) return &field;
  }
  return nullptr;
}

bool Fields::has_list_element(FieldId id, std::string_view lower) const {
  if (!has(id)) return false;
  for (const Field& field : all()) {
    if (field.id != id) continue;
    std::string_view rest = value(field);
    std::string_view element;
    while (next_list_element(rest, element)) {
      if (equals_ignoring_case(element, lower)) return true;
    }
  }
  return false;
}

void RequestHead::rebase(const char* base) {
  const char* from = fields.base();
  // "/" of an absolute-form target without a path is a constant, not part of the bytes.
  const bool is_path_inside =
      path.data() >= target.data() && path.data() < target.data() + target.size();
  method = moved(method, from, base);
  if (is_path_inside) path = moved(path, from, base);
  target = moved(target, from, base);
  authority = moved(authority, from, base);
  fields.rebase(base);
}

void ResponseHead::rebase(const char* base) {
  reason = moved(reason, fields.base(), base);
  fields.rebase(base);
}

bool wants_keep_alive(const Fields& fields, Version version) {
  if (!fields.has(FieldId::Connection)) return version == Version::Http11;
  if (fields.has_list_element(FieldId::Connection, "close")) return false;
  return version == Version::Http11 || fields.has_list_element(FieldId::Connection, "keep-alive");
}

}  // namespace pillion::http1
