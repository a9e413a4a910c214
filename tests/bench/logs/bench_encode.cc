// How many bytes of raw log one core turns into JSON per second, in memory: no file, no output.
//
//   bench_logs_encode [MEGABYTES]     prints one line per input and instruction set, best of five
//
// Inputs are made here, seeded, so that every run measures the same bytes.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "adapters/logs/encode/encoder.h"

namespace {

using namespace pillion::logs;

struct Random {
  unsigned operator()() { return static_cast<unsigned>(engine()); }
  std::mt19937 engine{7};
};

std::string stamp(unsigned second) {
  char text[32];
  std::snprintf(text, sizeof text, "2024-01-15 %02u:%02u:%02u", second / 3600 % 24,
                second / 60 % 60, second % 60);
  return text;
}

// Prefixed logfmt with the fields of an order processor: 108 bytes a line on average.
std::string prefixed_line(Random& random, unsigned line) {
  static const char* const kLevels[] = {"INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"};
  static const char* const kStatus[] = {"FULFILLED", "PENDING", "SHIPPED", "REJECTED"};
  char text[256];
  std::snprintf(text, sizeof text,
                "%s %s order_id=ORD-%u status=%s customer=c-%u amount=%u.%02u duration_ms=%u "
                "region=eu-west-%u\n",
                stamp(line / 500).c_str(), kLevels[random() % 6], random() % 100000u,
                kStatus[random() % 4], random() % 10000000u, random() % 1000u, random() % 100u,
                random() % 2000u, random() % 3u);
  return text;
}

std::string message_line(Random& random, unsigned line) {
  char text[256];
  std::snprintf(
      text, sizeof text,
      "%s INFO [worker-%u] com.example.orders.Fulfilment: order ORD-%u handed over to the "
      "carrier after %u ms, %u parcels\n",
      stamp(line / 500).c_str(), random() % 16, random() % 100000u, random() % 2000u,
      random() % 5u);
  return text;
}

std::string combined_line(Random& random, unsigned line) {
  char text[400];
  std::snprintf(
      text, sizeof text,
      "203.0.113.%u - - [15/Jan/2024:%02u:%02u:%02u +0000] \"GET /api/orders/%u?expand=items "
      "HTTP/1.1\" %u %u \"https://shop.example/orders\" \"Mozilla/5.0 (X11; Linux x86_64; "
      "rv:121.0) Gecko/20100101 Firefox/121.0\"\n",
      random() % 256, line / 500 / 3600 % 24, line / 500 / 60 % 60, line / 500 % 60,
      random() % 100000u, random() % 10 == 0 ? 404u : 200u, random() % 90000u);
  return text;
}

std::string json_line(Random& random, unsigned line) {
  char text[400];
  std::snprintf(text, sizeof text,
                "{\"time\":\"2024-01-15T14:%02u:%02u.%03uZ\",\"level\":\"info\",\"msg\":\"order "
                "fulfilled\",\"order_id\":\"ORD-%u\",\"amount\":%u.5,\"customer\":{\"id\":%u,"
                "\"tier\":\"gold\"}}\n",
                line / 500 / 60 % 60, line / 500 % 60, random() % 1000u, random() % 100000u,
                random() % 1000u, random() % 10000000u);
  return text;
}

// A Java application's log, where one record in four has a trace of twenty frames.
std::string trace_record(Random& random, unsigned line) {
  char text[256];
  std::snprintf(text, sizeof text,
                "%s,%03u ERROR [worker-%u] com.example.orders.Fulfilment: order ORD-%u failed\n",
                stamp(line / 50).c_str(), random() % 1000u, random() % 16, random() % 100000u);
  std::string record = text;
  if (line % 4 != 0) return record;
  record += "java.lang.IllegalStateException: carrier has closed the connection\n";
  for (unsigned frame = 0; frame < 20; ++frame) {
    std::snprintf(text, sizeof text,
                  "\tat com.example.orders.carrier.Client$Session.handle%u(Client.java:%u)\n",
                  random() % 100u, random() % 1000u);
    record += text;
  }
  return record + "Caused by: java.net.SocketException: Connection reset\n\t... 20 more\n";
}

struct Input {
  const char* name;
  Format format;
  std::string (*line)(Random&, unsigned);
  bool has_traces = false;
};

// Six captures over a line of message_line().
constexpr const char* kSixCaptures =
    R"(^(?<time>\S+ \S+) (?<level>\w+) \[(?<thread>[^\]]+)\] (?<logger>[\w.]+): order (?<order>\S+) handed over to the carrier after (?<took>\d+) ms)";

void measure(const Input& input, const Kernel& kernel, std::size_t bytes_total) {
  constexpr std::size_t kChunk = 256u << 10;
  Random random;
  std::string text;
  unsigned lines = 0;
  while (text.size() < (16u << 20)) text += input.line(random, lines++);
  const std::size_t size = text.size();
  text.append(kScanPadding, '\0');

  EncoderOptions options;
  options.format = input.format;
  if (input.has_traces) options.groups.emplace();
  if (input.format == Format::Regex) {
    options.regex = RegexFormat::compile(kSixCaptures).value();
  }
  options.envelope.add("service.name", "order-processor");
  options.envelope.add("host.name", "vm-17.example.internal");
  options.envelope.add("log.file.path", "/var/log/app/orders.log");
  Encoder encoder(std::move(options), kernel);
  RecordBuffer buffer;
  double best = 0;
  double out_per_in = 0;
  for (int round = 0; round < 5; ++round) {
    std::size_t done = 0, written = 0;
    const auto start = std::chrono::steady_clock::now();
    while (done < bytes_total / 5) {
      for (std::size_t at = 0; at < size;) {
        const std::size_t length = std::min(kChunk, size - at);
        const std::size_t taken = encoder.encode({text.data() + at, length}, at, buffer);
        written += buffer.size();
        buffer.clear();
        if (taken == 0) break;
        at += taken;
        done += taken;
      }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(done) / 1e6 / seconds.count());
    out_per_in = static_cast<double>(written) / static_cast<double>(done);
  }
  std::printf(
      "%-18s %-9s %8.0f MB/s in   %5.1f bytes/line   %4.2f bytes out per byte in   %llu failures\n",
      input.name, kernel.name, best, static_cast<double>(size) / lines, out_per_in,
      static_cast<unsigned long long>(encoder.counters().parse_failures));
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t megabytes = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000;
  const Input inputs[] = {
      {"prefixed-logfmt", Format::PrefixedLogfmt, prefixed_line},
      {"prefixed, text", Format::PrefixedLogfmt, message_line},
      {"raw", Format::Raw, prefixed_line},
      {"combined", Format::Clf, combined_line},
      {"json", Format::Json, json_line},
      {"regex, 6 groups", Format::Regex, message_line},
      {"java traces", Format::Log4j, trace_record, true},
      {"java traces, auto", Format::Auto, trace_record, true},
  };
  for (const Input& input : inputs) {
    measure(input, kBaselineKernel, megabytes * 1000000);
    const Kernel& best = kernel_for_this_cpu();
    if (&best != &kBaselineKernel) measure(input, best, megabytes * 1000000);
  }
}
