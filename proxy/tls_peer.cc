#include "proxy/tls_peer.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

namespace pillion::proxy {
namespace {

// A NUL inside would let a certificate for one name pass for another.
std::string text_of(const ASN1_IA5STRING* text) {
  std::string value(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                    static_cast<std::size_t>(ASN1_STRING_length(text)));
  const bool is_plain = std::all_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
  return is_plain ? value : std::string("(unprintable)");
}

// Quotes where Envoy does: a value with a separator in it.
void append_quoted(std::string& out, std::string_view value) {
  if (value.find_first_of(",;=\"") == std::string_view::npos) {
    out.append(value);
    return;
  }
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

}  // namespace

CertificateNames names_of(const x509_st& certificate) {
  CertificateNames names;
  auto* all = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  if (all == nullptr) return names;
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type == GEN_URI) names.uris.push_back(text_of(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) names.dns.push_back(text_of(name->d.dNSName));
  }
  GENERAL_NAMES_free(all);
  return names;
}

bool matches_spiffe(std::string_view pattern, std::string_view id) {
  constexpr std::string_view kScheme = "spiffe://";
  if (!pattern.starts_with(kScheme) || !id.starts_with(kScheme)) return false;
  if (pattern == id) return true;
  const bool is_trust_domain = pattern.find('/', kScheme.size()) == std::string_view::npos;
  return is_trust_domain && id.size() > pattern.size() && id.starts_with(pattern) &&
         id[pattern.size()] == '/';
}

std::string_view refusal_of(const CertificateNames& names,
                            const std::vector<std::string>& patterns) {
  if (names.uris.size() > 1) return "the certificate has more than one URI";
  if (patterns.empty()) return {};
  if (names.uris.empty()) return "the certificate has no SPIFFE id";
  for (const std::string& pattern : patterns) {
    if (matches_spiffe(pattern, names.uris.front())) return {};
  }
  return "the certificate's SPIFFE id is not an accepted one";
}

std::string fingerprint_of(const x509_st& certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(&certificate, EVP_sha256(), digest, &size) != 1) return {};
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string forwarded_client_certificate(const x509_st& certificate, std::string_view own_uri) {
  const CertificateNames names = names_of(certificate);
  std::string out;
  if (!own_uri.empty()) {
    out = "By=";
    append_quoted(out, own_uri);
    out += ';';
  }
  out.append("Hash=").append(fingerprint_of(certificate));
  for (const std::string& uri : names.uris) {
    out.append(";URI=");
    append_quoted(out, uri);
  }
  for (const std::string& dns : names.dns) {
    out.append(";DNS=");
    append_quoted(out, dns);
  }
  return out;
}

}  // namespace pillion::proxy
