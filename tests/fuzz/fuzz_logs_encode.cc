// Any bytes through every parser: the first byte chooses format (low bits) and CRI framing (top
// bit), the last one Docker's framing, groups of lines and rules for fields. Output must be JSON,
// one object per line, and the same on every instruction set.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/unit/adapters/logs/encode_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pillion::logs;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> first;
  for (const Kernel* kernel : test::kernels()) {
    auto options = test::options_of(static_cast<Format>((data[0] & 0x7f) % kFormatCount));
    options.is_cri = (data[0] & 0x80) != 0;
    options.line_bytes_max = 4096;
    const std::uint8_t last = data[size - 1];
    options.is_docker = (last & 1) != 0;
    if ((last & 2) != 0) {
      options.groups.emplace();
      options.groups->preset = (last & 4) != 0 ? GroupPreset::Generic : GroupPreset::Auto;
      options.groups->bytes_max = 1024;
    }
    if ((last & 8) != 0) {
      options.field_rules.redact = {"a", "message"};
      options.field_rules.text_redaction = TextRedaction::compile({"cards", "secrets"}).value();
    }
    options.envelope.add("service.name", "s");
    const auto records = test::encode(text, options, *kernel);
    for (const auto& record : records) {
      if (!nlohmann::json::accept(record) || record.find('\n') != record.size() - 1) std::abort();
    }
    if (kernel == test::kernels().front()) first = records;
    if (records != first) std::abort();
  }
  return 0;
}
