// Amounts and names as people write them on the command line.
#include <catch2/catch.hpp>

#include "supervisor/cli/child_name.h"
#include "supervisor/cli/limit_text.h"
#include "supervisor/cli/top_screen.h"

using namespace pillion::supervisor::cli;

TEST_CASE("CPU shares in percent become what the file takes") {
  CHECK(cpu_text("50%") == "500m");
  CHECK(cpu_text("0.5%") == "5m");
  CHECK(cpu_text("250%") == "2500m");
  for (const char* text : {"0.5", "500m", "%", "x%", "-5%", "1e9%", ""})
    CHECK(cpu_text(text) == text);
}

TEST_CASE("memory in the habit of systemd and Kubernetes is binary") {
  CHECK(bytes_text("256M") == "256MiB");
  CHECK(bytes_text("256Mi") == "256MiB");
  CHECK(bytes_text("1g") == "1GiB");
  CHECK(bytes_text("1.5G") == "1.5GiB");
  for (const char* text : {"256MiB", "256MB", "12B", "M", "lots", ""})
    CHECK(bytes_text(text) == text);
}

TEST_CASE("a child may be named after a slash, a file may not") {
  const auto split = [](std::string name, std::string child = "") {
    split_child(name, child);
    return name + "|" + child;
  };
  CHECK(split("orders/proxy") == "orders|proxy");
  CHECK(split("orders", "proxy") == "orders|proxy");
  CHECK(split("/etc/pillion/orders.toml") == "/etc/pillion/orders.toml|");
  CHECK(split("orders") == "orders|");
}

TEST_CASE("a line is cut to what is visible of it") {
  CHECK(cut_line("abcdef", 4) == "abcd");
  CHECK(cut_line("ab", 4) == "ab");
  CHECK(cut_line("\x1b[31mabcdef\x1b[0m", 3) == "\x1b[31mabc\x1b[0m");
  CHECK(cut_line("gr\xc3\xbc\xc3\x9f!", 4) == "gr\xc3\xbc\xc3\x9f");
  CHECK(cut_line("\x1b[31", 3) == "\x1b[31\x1b[0m");
}
