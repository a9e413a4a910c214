// Runs lines through an encoder of each instruction set and hands back the records.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/encoder.h"
#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/regex_format.h"

namespace pillion::logs::test {

inline std::vector<const Kernel*> kernels() {
  std::vector<const Kernel*> result{&kBaselineKernel};
  if (&kernel_for_this_cpu() != &kBaselineKernel) result.push_back(&kernel_for_this_cpu());
  return result;
}

inline EncoderOptions options_of(Format format, const std::string& zone = "utc") {
  EncoderOptions options;
  options.format = format;
  options.zone = TimeZone::load(zone).value();
  if (format == Format::Pattern) {
    options.layout = std::make_shared<const Layout>(
        Layout::compile("%{time} %(<%{a}> %)%{b:quoted} %{c:sd} %{pairs}").value());
  }
  if (format == Format::Regex) {
    options.regex = RegexFormat::compile("(?<a>\\w+)?.(?<time>[0-9 :-]+)(?<message>.*)").value();
  }
  if (format == Format::Csv) options.columns = {"time", "level", "message"};
  return options;
}

// The bytes at `text` with the padding that the encoder asks for. Exactly sized, so that a
// sanitizer sees a read behind the padding.
class Padded {
 public:
  explicit Padded(std::string_view text) : bytes_(text.size() + kScanPadding, '\xff') {
    text.copy(bytes_.data(), text.size());
    size_ = text.size();
  }
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::vector<char> bytes_;
  std::size_t size_;
};

inline std::vector<std::string> records_of(const RecordBuffer& buffer) {
  std::vector<std::string> records;
  for (std::size_t i = 0; i < buffer.record_count(); ++i) records.emplace_back(buffer.record(i));
  return records;
}

// 2024-01-15T14:32:05Z
inline constexpr std::int64_t kObserved = 1705329125'000'000'000;

inline std::vector<std::string> encode(std::string_view text, EncoderOptions options,
                                       const Kernel& kernel = kBaselineKernel) {
  Encoder encoder(std::move(options), kernel);
  encoder.set_observed_time(kObserved);
  RecordBuffer buffer;
  const Padded padded(text);
  encoder.encode(padded.view(), 0, buffer);
  return records_of(buffer);
}

}  // namespace pillion::logs::test
