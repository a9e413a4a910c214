// Globs and numbers.
#include <catch2/catch.hpp>
#include <limits>

#include "adapters/metrics/model/family.h"
#include "adapters/metrics/model/name_glob.h"
#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {

TEST_CASE("A star matches one part between dots, or a piece of it") {
  std::vector<std::string_view> captures;
  CHECK(matches_glob("a.*.c", "a.b.c", captures));
  CHECK(captures == std::vector<std::string_view>{"b"});
  CHECK_FALSE(matches_glob("a.*.c", "a.b.b.c", captures));
  CHECK_FALSE(matches_glob("a.*", "a.b.c", captures));
  CHECK(matches_glob("*.get-*.*", "shop.get-item.x", captures));
  CHECK(captures == std::vector<std::string_view>{"shop", "item", "x"});
  CHECK(matches_glob("a*b*c", "aXbYbZc", captures));
  CHECK(captures == std::vector<std::string_view>{"X", "YbZ"});
  CHECK(matches_glob("*", "", captures));
  CHECK_FALSE(matches_glob("*", "a.b", captures));
  CHECK(matches_whole_glob("go_*", "go_gc_x.y"));
  CHECK_FALSE(matches_whole_glob("go_*", "xgo_"));
}

TEST_CASE("A glob that could back-track for ever does not") {
  std::vector<std::string_view> captures;
  std::string glob;
  for (int i = 0; i < 40; ++i) glob += "*a";
  CHECK_FALSE(matches_glob(glob + "b", std::string(4000, 'a'), captures));
}

TEST_CASE("Captures are put in by number") {
  CHECK(expand_captures("$1_x_$2$3", {"a", "b"}) == "a_x_b");
  CHECK(expand_captures("cost $ 5 $", {}) == "cost $ 5 $");
  CHECK(expand_captures("$10", {"1", "2", "3", "4", "5", "6", "7", "8", "9", "ten"}) == "ten");
}

TEST_CASE("Numbers are written shortest, labels' numbers canonically") {
  const auto text = [](double value) {
    std::string out;
    append_number(out, value);
    return out;
  };
  CHECK(text(1) == "1");
  CHECK(text(0.1) == "0.1");
  CHECK(text(1e21) == "1e+21");
  CHECK(text(123456789012) == "123456789012");
  CHECK(text(std::numeric_limits<double>::infinity()) == "+Inf");
  CHECK(text(std::numeric_limits<double>::quiet_NaN()) == "NaN");
  CHECK(canonical_number(1) == "1.0");
  CHECK(canonical_number(0.005) == "0.005");
  CHECK(canonical_number(1e6) == "1e+06");
  CHECK(canonical_number(0.00001) == "1e-05");
  CHECK(canonical_number(0) == "0.0");
}

TEST_CASE("Numbers are read whole or not at all") {
  CHECK(parse_number("1.5e3") == 1500);
  CHECK(parse_number("+2") == 2);
  CHECK(parse_number("+Inf") == std::numeric_limits<double>::infinity());
  CHECK(parse_number("1e999") == std::numeric_limits<double>::infinity());
  CHECK(parse_number("1e-999") == 0);
  CHECK_FALSE(parse_number(""));
  CHECK_FALSE(parse_number("1 "));
  CHECK_FALSE(parse_number("0x10"));
  CHECK_FALSE(parse_number("+-1"));
}

TEST_CASE("Camel case becomes snake case") {
  CHECK(snake_case("HeapMemoryUsage") == "heap_memory_usage");
  CHECK(snake_case("GCTime") == "gc_time");
  CHECK(snake_case("java.lang") == "java_lang");
  CHECK(snake_case("queueSize2") == "queue_size2");
}

TEST_CASE("Text that is not UTF-8 is mended") {
  CHECK(clean_text("a\xff\xc3\xa9") == "a\xef\xbf\xbd\xc3\xa9");
  CHECK(clean_text("\xc3") == "\xef\xbf\xbd");
}

}  // namespace pillion::metrics
