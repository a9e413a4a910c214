// The diagrams in ARCHITECTURE.md are those of the tables.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "runtime/fd.h"
#include "supervisor/core/diagram.h"

using namespace pillion::supervisor::core;

namespace {

// Replaces what stands between the markers. Empty when a marker is missing.
std::string with_section(std::string document, const std::string& name,
                         const std::string& content) {
  const std::string begin = "<!-- BEGIN " + name + " -->\n";
  const std::string end = "<!-- END " + name + " -->";
  const std::size_t from = document.find(begin);
  const std::size_t to = document.find(end);
  if (from == std::string::npos || to == std::string::npos || to < from) return {};
  document.replace(from + begin.size(), to - from - begin.size(), content);
  return document;
}

}  // namespace

TEST_CASE("ARCHITECTURE.md shows the state machines of the tables") {
  const std::string path = PILLION_SOURCE_DIR "/ARCHITECTURE.md";
  const auto document = pillion::read_file(path);
  REQUIRE(document);
  std::string wanted = with_section(*document, "child states", child_diagram());
  REQUIRE_FALSE(wanted.empty());
  wanted = with_section(wanted, "service states", service_diagram());
  REQUIRE_FALSE(wanted.empty());
  if (wanted != *document && std::getenv("PILLION_UPDATE_DOCUMENTS")) {
    REQUIRE(pillion::write_file_atomically(path, wanted, 0644));
    return;
  }
  INFO("run this test with PILLION_UPDATE_DOCUMENTS=1 to bring " << path << " up to date");
  CHECK(wanted == *document);
}
