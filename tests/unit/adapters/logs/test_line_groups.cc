// Which lines become one record: traces of each language, generic continuation, patterns, limits;
// and that it does not matter where reads end.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

EncoderOptions grouped(GroupPreset preset, Format format = Format::Raw) {
  EncoderOptions options = options_of(format);
  options.groups.emplace();
  options.groups->preset = preset;
  return options;
}

// The messages of `text`, whose end is the end of the last record.
std::vector<std::string> messages_of(std::string_view text, EncoderOptions options,
                                     const Kernel& kernel = kBaselineKernel) {
  Encoder encoder(std::move(options), kernel);
  encoder.set_observed_time(kObserved);
  RecordBuffer buffer;
  const Padded padded(text);
  CHECK(encoder.encode_rest(padded.view(), 0, buffer) == text.size());
  encoder.flush_joined(buffer);
  std::vector<std::string> messages;
  for (const auto& record : records_of(buffer)) {
    messages.push_back(nlohmann::json::parse(record).value("message", "(none)"));
  }
  return messages;
}

using Texts = std::vector<std::string>;

// Lines of one string that belong together; each must come out as one message.
void check_groups(GroupPreset preset, const Texts& groups) {
  std::string text;
  for (const auto& group : groups) text += group + "\n";
  for (const Kernel* kernel : kernels()) {
    CHECK(messages_of(text, grouped(preset), *kernel) == groups);
  }
}

const std::string kJava =
    "Exception in thread \"main\" java.lang.RuntimeException: Something has gone wrong, aborting!\n"
    "    at com.myproject.module.MyProject.badMethod(MyProject.java:22)\n"
    "    at com.myproject.module.MyProject.main(MyProject.java:6)\n"
    "Caused by: java.lang.IllegalStateException: closed\n"
    "\tat com.myproject.Pool.take(Pool.java:9)\n"
    "\t... 2 more\n"
    "\tSuppressed: java.io.IOException: x\n"
    "\t\tat com.myproject.Pool.close(Pool.java:30)";
const std::string kPython =
    "Traceback (most recent call last):\n"
    "  File \"/base/data/home/runtimes/webapp2.py\", line 1535, in __call__\n"
    "    rv = self.handle_exception(request, response, e)\n"
    "         ^^^^^^^^^^^^^^^^^^^^^\n"
    "KeyError: 'order'\n"
    "\n"
    "During handling of the above exception, another exception occurred:\n"
    "\n"
    "Traceback (most recent call last):\n"
    "  File \"/app/x.py\", line 3, in <module>\n"
    "    raise Exception('spam', 'eggs')\n"
    "Exception: ('spam', 'eggs')";
const std::string kGo =
    "panic: my panic\n"
    "\n"
    "goroutine 4 [running]:\n"
    "panic(0x45cb40, 0x47ad70)\n"
    "\t/usr/local/go/src/runtime/panic.go:542 +0x46c fp=0xc42003f7b8 sp=0xc42003f710\n"
    "main.main.func1(0xc420024120)\n"
    "\tfoo.go:6 +0x39 fp=0xc42003f7d8 sp=0xc42003f7b8\n"
    "created by main.main\n"
    "\tfoo.go:5 +0x58\n"
    "\n"
    "goroutine 1 [chan receive]:\n"
    "net/http.(*conn).serve(0xc0001a2000, 0x1)\n"
    "\t/usr/local/go/src/net/http/server.go:1775 +0x185\n"
    "exit status 2";
const std::string kNode =
    "TypeError: Cannot read properties of undefined (reading 'id')\n"
    "    at Object.<anonymous> (/app/index.js:3:15)\n"
    "    at node:internal/main/run_main_module:23:47 {\n"
    "  code: 'X'\n"
    "}";
const std::string kDotnet =
    "Unhandled exception. System.InvalidOperationException: outer\n"
    " ---> System.ArgumentNullException: Value cannot be null.\n"
    "   at App.Program.Inner() in /src/Program.cs:line 12\n"
    "   --- End of inner exception stack trace ---\n"
    "   at App.Program.Main(String[] args) in /src/Program.cs:line 5\n"
    "--- End of stack trace from previous location ---\n"
    "   at App.Program.<Main>(String[] args)";
const std::string kRuby =
    "/app/order.rb:12:in `save': no stock (RuntimeError)\n"
    "\tfrom /app/order.rb:7:in `block in run'\n"
    "\tfrom /app/main.rb:3:in `<main>'";
const std::string kRails =
    "ActiveRecord::RecordNotFound (Couldn't find Order with 'id'=7):\n"
    "  \n"
    "app/controllers/orders_controller.rb:12:in `show'\n"
    "lib/middleware.rb:4:in `call'";

}  // namespace

TEST_CASE("A trace is one record, in the preset of its language and in auto") {
  const std::vector<std::pair<GroupPreset, std::string>> traces = {
      {GroupPreset::Java, kJava},  {GroupPreset::Python, kPython}, {GroupPreset::Go, kGo},
      {GroupPreset::Node, kNode},  {GroupPreset::Dotnet, kDotnet}, {GroupPreset::Ruby, kRuby},
      {GroupPreset::Ruby, kRails},
  };
  for (const auto& [preset, trace] : traces) {
    for (const GroupPreset tried : {preset, GroupPreset::Auto}) {
      INFO(trace);
      check_groups(tried,
                   {"before", trace, "behind", trace, trace, "2024-01-15 14:32:01 INFO end"});
    }
  }
}

TEST_CASE("A trace goes with the log line that reported it") {
  check_groups(
      GroupPreset::Auto,
      {"2024-01-15 14:32:01 ERROR order failed\n" + kJava,
       "2024-01-15 14:32:02 ERROR order failed\n" + kPython, "ERROR:root:order failed\n" + kPython,
       "[2024-01-15T14:32:03Z] error\n" + kNode,
       "Jan 15 14:32:03 web app[7]: failed\njava.io.IOException: disk\n\tat a.B.c(B.java:1)",
       "2024/01/15 14:32:04 http: panic serving 10.0.0.1:1234: boom\n" + kGo.substr(17),
       "2024-01-15 14:32:05 INFO fine"});
}

TEST_CASE("Lines that only look a little like a trace stay records of their own") {
  check_groups(GroupPreset::Auto,
               {"INFO at the start", "at noon the job ran", "  indented without a trace",
                "Error: one line", "Error: another", "panic in the streets", "goroutine count 5",
                "2024-01-15 14:32:01 INFO a", "2024-01-15 14:32:02 INFO b", "}"});
  // Behind a finished trace a blank line ends it.
  CHECK(messages_of("Traceback (most recent call last):\n  File \"x\"\nE: y\n\nnext\n",
                    grouped(GroupPreset::Python)) ==
        Texts{"Traceback (most recent call last):\n  File \"x\"\nE: y", "next"});
  // One preset knows nothing of another's traces.
  CHECK(messages_of(kPython + "\n", grouped(GroupPreset::Java)).size() > 5);
}

TEST_CASE("Generic: indented lines, and lines without a time behind one that has it") {
  check_groups(GroupPreset::Generic, {"plain", "head\n  a\n\tb", "plain"});
  for (const std::string time :
       {"2024-01-15 14:32:01 ", "[15/Jan/2024:14:32:01 +0000] ", "Jan 15 14:32:01 ",
        "081109 203518 ", "E0115 14:32:01.1 7 x.cc:1] ", "1705329121.5 ", "14:32:01.5 ",
        "[0.123s][info] ", "ERROR ", "<34>Oct 11 22:14:15 ", "{\"a\":1} ", "2024/01/15 14:32:01 ",
        "[2024-01-15 14:32:01] "}) {
    INFO(time);
    check_groups(GroupPreset::Generic, {time + "SELECT *\nFROM orders\n\nWHERE id = 7",
                                        time + "next", time + "x\n y\nz"});
  }
}

// The shapes that Fluent Bit's own cases try (tests/internal/multiline.c), in lines of ours.
TEST_CASE("What Fluent Bit's multiline cases take together is one record here, too") {
  std::string goroutines = "panic: out of stock\n\ngoroutine 7 [running]:\npanic(0x1, 0x2)";
  for (const char* state :
       {"chan receive", "force gc (idle)", "GC sweep wait", "select, 3 minutes"}) {
    goroutines +=
        "\n\t/go/src/runtime/panic.go:542 +0x46c fp=0xc1 sp=0xc2 pc=0x42\nruntime.goexit()";
    goroutines +=
        "\n\t/go/src/runtime/asm_amd64.s:2337 +0x1 fp=0xc3 sp=0xc4 pc=0x44\ncreated by main.main";
    goroutines += "\n\tshop.go:5 +0x58\n\ngoroutine 1 [" + std::string(state) + "]:\nmain.main()";
  }
  goroutines += "\n\tshop.go:9 +0x6f";
  check_groups(GroupPreset::Go, {goroutines, "one more line"});
  check_groups(GroupPreset::Java, {kJava + "\n     ... 1 more", "a line by itself", kJava});
  check_groups(GroupPreset::Python, {kPython, "a line by itself", kPython, "and another"});
  const std::string index =
      "[shop] IndexNotFoundException[no such index]\n    at "
      "org.example.Names.find(Names.java:133)\n"
      "    at org.example.Delete.run(Delete.java:75)";
  check_groups(GroupPreset::Generic, {index, "another line", index});
}

TEST_CASE("Pattern: what `start` does not match continues") {
  EncoderOptions options = grouped(GroupPreset::Pattern);
  options.groups->start = RegexFormat::compile("^BEGIN %{INT}", false).value();
  CHECK(messages_of("lost\nBEGIN 1\na\n\nb\nBEGIN x\nBEGIN 2\n", options) ==
        Texts{"lost", "BEGIN 1\na\n\nb\nBEGIN x", "BEGIN 2"});
}

TEST_CASE("Further lines go to the message of the first, whatever its format") {
  const std::string trace = "java.lang.X: y\n\tat \"a\\b\"";
  const auto message = [&](Format format, const std::string& head) {
    return messages_of(head + "\n" + trace + "\n", grouped(GroupPreset::Generic, format))[0];
  };
  CHECK(message(Format::Log4j, "2024-01-15 14:32:01,978 INFO [main] a.B: ready") ==
        "ready\n" + trace);
  CHECK(message(Format::PrefixedLogfmt, "2024-01-15 14:32:01 ERROR low stock sku=1") ==
        "low stock\n" + trace);
  CHECK(message(Format::PrefixedLogfmt, "2024-01-15 14:32:01 ERROR sku=1") == trace);
  CHECK(message(Format::Auto, "2024-01-15 14:32:01 oh no") == "oh no\n" + trace);
  // Not of the format: the whole goes out, marked.
  const auto failed =
      encode("2024-01-15 no\n  x\nE0115 1\n", grouped(GroupPreset::Generic, Format::Glog));
  CHECK(nlohmann::json::parse(failed.at(0))["message"] == "2024-01-15 no\n  x");
  CHECK(nlohmann::json::parse(failed.at(0))["tags"][0] == "_parsefailure");
  // A JSON object has its message; what follows it is kept beside.
  const auto json = encode("{\"msg\":\"m\"}\n  at x\n{\"a\":1}\n  at y\n{}\n",
                           grouped(GroupPreset::Generic, Format::Json));
  CHECK(nlohmann::json::parse(json.at(0))["message"] == "m");
  CHECK(nlohmann::json::parse(json.at(0))["error.stack_trace"] == "  at x");
  CHECK(nlohmann::json::parse(json.at(1))["message"] == "  at y");
}

TEST_CASE("The whole group is the original") {
  auto options = grouped(GroupPreset::Auto);
  options.envelope.has_original = true;
  const auto records = encode(kJava + "\nend\n", options);
  CHECK(nlohmann::json::parse(records.at(0))["event.original"] == kJava);
}

TEST_CASE("A group beyond a limit goes on in a record of its own; nothing is lost") {
  auto options = grouped(GroupPreset::Generic);
  options.groups->lines_max = 3;
  CHECK(messages_of("h\n 1\n 2\n 3\n 4\nn\n", options) == Texts{"h\n 1\n 2", " 3\n 4", "n"});
  options.groups->lines_max = 500;
  options.groups->bytes_max = 6;
  CHECK(messages_of("h\n 12\n 34\n 5678901234\nn\n", options) ==
        Texts{"h\n 12", " 34", " 5678901234", "n"});
  // The first line that is too long to be judged ends the group without being waited for.
  Encoder encoder(options);
  RecordBuffer buffer;
  const Padded unfinished("h\n 12\n 3456789");
  CHECK(encoder.encode(unfinished.view(), 0, buffer) == 6);
}

TEST_CASE("Groups do not depend on where reads end, also when streams are mixed") {
  std::string cri;
  int line_number = 0;
  const std::string text =
      "a\n" + kJava + "\n\n" + kGo + "\n2024-01-15 14:32:01 ERROR x\n" + kPython + "\nend\n";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t newline = text.find('\n', at);
    const std::string line = text.substr(at, newline - at);
    const std::string time = "2024-01-15T14:32:01." + std::to_string(100 + line_number++) + "Z ";
    cri += time + "stderr " +
           (line.size() > 40
                ? "P:g2 " + line.substr(0, 40) + "\n" + time + "stderr F:g2 " + line.substr(40)
                : "F:g2 " + line) +
           "\n" + time + "stdout F:g2 between\n";
    at = newline + 1;
  }
  for (const bool is_cri : {false, true}) {
    EncoderOptions options = grouped(GroupPreset::Auto);
    options.is_cri = is_cri;
    options.envelope.has_offset = true;
    const std::string& input = is_cri ? cri : text;
    const auto all = [&](std::size_t split) {
      Encoder encoder(options);
      encoder.set_observed_time(kObserved);
      RecordBuffer buffer;
      const Padded first(std::string_view(input).substr(0, split));
      const std::size_t taken = encoder.encode(first.view(), 0, buffer);
      CHECK(encoder.safe_offset(taken) <= split);
      const Padded second(std::string_view(input).substr(taken));
      encoder.encode_rest(second.view(), taken, buffer);
      encoder.flush_joined(buffer);
      return records_of(buffer);
    };
    const auto whole = all(input.size());
    Texts traces;
    for (const auto& record : whole) {
      const auto parsed = nlohmann::json::parse(record);
      if (parsed["message"] == "between") continue;
      traces.push_back(parsed["message"]);
      if (is_cri) CHECK(parsed["stream"] == "stderr");
    }
    CHECK(traces == Texts{"a", kJava, kGo, "2024-01-15 14:32:01 ERROR x\n" + kPython, "end"});
    const std::size_t step = is_cri ? 7 : 1;
    for (std::size_t split = 0; split < input.size(); split += step) {
      INFO(split);
      CHECK(all(split) == whole);
    }
  }
}

TEST_CASE("An open group of a CRI stream holds the safe offset back") {
  auto options = grouped(GroupPreset::Java);
  options.is_cri = true;
  Encoder encoder(options);
  RecordBuffer buffer;
  const std::string head = "2024-01-15T14:32:01Z stdout F a\n";
  const Padded padded(head + "2024-01-15T14:32:02Z stderr F b\n");
  CHECK(encoder.encode(padded.view(), 0, buffer) == head.size() * 2);
  CHECK(buffer.record_count() == 0);
  CHECK(encoder.safe_offset(head.size() * 2) == 0);
  encoder.flush_groups(buffer);
  CHECK(buffer.record_count() == 2);
  CHECK(encoder.safe_offset(head.size() * 2) == head.size() * 2);
}

}  // namespace pillion::logs::test
