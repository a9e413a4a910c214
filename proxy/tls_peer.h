// Who the other side of a TLS connection is: what its certificate says, and whether that is whom we
// accept. Names are taken from subject alternative names only, never from the common name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

struct x509_st;

namespace pillion::proxy {

struct CertificateNames {
  std::vector<std::string> uris;
  std::vector<std::string> dns;
};
CertificateNames names_of(const x509_st& certificate);

// Whether a SPIFFE id is meant by `pattern`: a whole id, or a trust domain ("spiffe://prod"), which
// covers all its ids. Comparison is by byte, as ids are compared (SPIFFE-ID §2).
bool matches_spiffe(std::string_view pattern, std::string_view id);

// Why a peer with these names is refused; empty when it is accepted. A certificate with several
// URIs names nobody (X.509-SVID §2); with patterns, exactly one URI must match one of them.
std::string_view refusal_of(const CertificateNames& names,
                            const std::vector<std::string>& patterns);

// The fields of X-Forwarded-Client-Cert, in Envoy's order and form.
std::string forwarded_client_certificate(const x509_st& certificate, std::string_view own_uri);

// Lower-case hexadecimal of the certificate's SHA-256.
std::string fingerprint_of(const x509_st& certificate);

}  // namespace pillion::proxy
