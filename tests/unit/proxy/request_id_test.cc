// Request ids: made, kept, refused.
#include "proxy/request_id.h"

#include <catch2/catch.hpp>
#include <set>

using namespace pillion::proxy;

namespace {

// xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx
bool has_uuid_form(std::string_view id) {
  if (id.size() != 36 || id[14] != '4') return false;
  if (std::string_view("89ab").find(id[19]) == std::string_view::npos) return false;
  for (std::size_t i = 0; i < id.size(); ++i) {
    const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
    const std::string_view allowed = is_dash ? "-" : "0123456789abcdef";
    if (allowed.find(id[i]) == std::string_view::npos) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("request ids are UUIDs of version 4 and do not repeat") {
  RandomSource random;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    std::string id;
    assign_uuid(random, id);
    REQUIRE(has_uuid_form(id));
    REQUIRE(seen.insert(id).second);
  }
}

TEST_CASE("a caller's request id is visible ASCII of at most 128 bytes") {
  CHECK(is_valid_request_id("a"));
  CHECK(is_valid_request_id(std::string(128, 'x')));
  CHECK_FALSE(is_valid_request_id(""));
  CHECK_FALSE(is_valid_request_id(std::string(129, 'x')));
  CHECK_FALSE(is_valid_request_id("a b"));
  CHECK_FALSE(is_valid_request_id("a\x7f"));
  CHECK_FALSE(is_valid_request_id("\xc3\xa4"));
}
