// Who a peer is, by its certificate: what counts as a SPIFFE identity and which names match.
#include "proxy/tls_peer.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;

TEST_CASE("a SPIFFE pattern is a whole id or a trust domain") {
  CHECK(matches_spiffe("spiffe://prod/shop", "spiffe://prod/shop"));
  CHECK(matches_spiffe("spiffe://prod", "spiffe://prod/shop"));
  CHECK(matches_spiffe("spiffe://prod", "spiffe://prod/ns/a/sa/b"));
  CHECK_FALSE(matches_spiffe("spiffe://prod", "spiffe://production/shop"));
  CHECK_FALSE(matches_spiffe("spiffe://prod/shop", "spiffe://prod/shop/2"));
  CHECK_FALSE(matches_spiffe("spiffe://prod/shop", "spiffe://prod"));
  CHECK_FALSE(matches_spiffe("spiffe://prod", "https://prod/shop"));
  CHECK_FALSE(matches_spiffe("prod", "spiffe://prod/shop"));
}

TEST_CASE("a peer is refused with the reason") {
  CHECK(refusal_of({}, {}).empty());
  CHECK(refusal_of({{"spiffe://prod/shop"}, {}}, {"spiffe://test", "spiffe://prod"}).empty());
  CHECK(refusal_of({{}, {"shop.test"}}, {"spiffe://prod"}) == "the certificate has no SPIFFE id");
  CHECK(refusal_of({{"spiffe://prod/a", "spiffe://prod/b"}, {}}, {}) ==
        "the certificate has more than one URI");
  CHECK(refusal_of({{"spiffe://test/shop"}, {}}, {"spiffe://prod"}) ==
        "the certificate's SPIFFE id is not an accepted one");
}
