// config-docs SOURCE_DIRECTORY: writes the documents that are made from the schema into the tree.
#include <sys/stat.h>

#include <cstdio>

#include "config/reference.h"
#include "runtime/fd.h"

namespace {

bool write(const std::string& path, const std::string& content) {
  const auto result = pillion::write_file_atomically(path, content, 0644);
  if (!result) std::fprintf(stderr, "config-docs: %s\n", result.error().message().c_str());
  return result.has_value();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: config-docs SOURCE_DIRECTORY\n");
    return 64;
  }
  const std::string root = argv[1];
  mkdir((root + "/docs").c_str(), 0755);
  mkdir((root + "/packaging/schema").c_str(), 0755);
  mkdir((root + "/packaging/man").c_str(), 0755);
  const bool is_written =
      write(root + "/docs/configuration.md", pillion::config::reference_markdown()) &&
      write(root + "/packaging/man/pillion.toml.5", pillion::config::reference_manual()) &&
      write(root + "/packaging/schema/pillion.schema.json", pillion::config::json_schema());
  return is_written ? 0 : 1;
}
