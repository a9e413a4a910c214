// The documents made from the schema are those in the tree.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>
#include <set>

#include "config/parse_units.h"
#include "config/reference.h"
#include "config/schema_walk.h"
#include "runtime/fd.h"

using namespace pillion::config;

namespace {

// When this fails: cmake --build --preset dev --target config-docs && build/dev/bin/config-docs .
void require_in_tree(const std::string& path, const std::string& made) {
  const auto kept = pillion::read_file(std::string(PILLION_SOURCE_DIRECTORY) + "/" + path);
  REQUIRE(kept.has_value());
  INFO(path << " is not what the schema says: run `config-docs .` at the top of the tree");
  REQUIRE((*kept == made));
}

}  // namespace

TEST_CASE("docs/configuration.md is made from the schema") {
  require_in_tree("docs/configuration.md", reference_markdown());
}

TEST_CASE("pillion.toml.5 is made from the schema") {
  require_in_tree("packaging/man/pillion.toml.5", reference_manual());
}

TEST_CASE("pillion.schema.json is made from the schema") {
  require_in_tree("packaging/schema/pillion.schema.json", json_schema());
}

TEST_CASE("The JSON Schema is JSON and every reference in it leads somewhere") {
  const auto schema = nlohmann::json::parse(json_schema());
  const std::string text = schema.dump();
  const std::string mark = "\"$ref\":\"#/definitions/";
  std::size_t count = 0;
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    const std::size_t start = at + mark.size();
    const std::string name = text.substr(start, text.find('"', start) - start);
    INFO(name);
    REQUIRE(schema["definitions"].contains(name));
    ++count;
  }
  REQUIRE(count > 50);
}

TEST_CASE("Every table has a heading of its own and every key a meaning") {
  std::set<std::string> anchors;
  for (const TablePlace& place : all_tables()) {
    INFO(place.schema->title);
    CHECK(anchors.insert(anchor_of(place.schema->title)).second);
    std::set<std::string_view> keys;
    for (const Field& field : place.schema->fields) {
      INFO(field.key);
      CHECK(keys.insert(field.key).second);
      CHECK_FALSE(field.doc.empty());
      CHECK(field.doc.ends_with('.'));
    }
  }
}
