// What `pillion check` and `pillion config` print and how they exit.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "config/check.h"
#include "runtime/fd.h"
#include "tests/unit/config/load_for_test.h"
#include "tests/unit/config/order_processor.h"

using namespace pillion::config;

namespace {

// A file of its own in a directory of its own, gone at the end of the test.
class TestFile {
 public:
  TestFile(const std::string& name, std::string_view text) {
    char pattern[] = "/tmp/pillion-config-XXXXXX";
    REQUIRE(mkdtemp(pattern) != nullptr);
    directory_ = pattern;
    path_ = directory_ + "/" + name;
    std::ofstream(path_) << text;
  }
  ~TestFile() {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string directory_;
  std::string path_;
};

CommandOutput check(const std::vector<std::string>& files,
                    ReportFormat format = ReportFormat::Text) {
  return check_files({.files = files, .format = format}, test_options());
}

}  // namespace

TEST_CASE("A good file is ok and exits 0") {
  const TestFile file("orders.toml", "[app]\ncommand = [\"/bin/app\"]\n");
  const CommandOutput output = check({file.path()});
  CHECK(output.exit_code == 0);
  CHECK(output.standard_error.empty());
  CHECK(output.standard_output == file.path() + ": ok\n");
}

TEST_CASE("One bad file of several exits 78 and the others are still told") {
  const TestFile good("orders.toml", "[app]\ncommand = [\"/bin/app\"]\n");
  const TestFile bad("bad.toml", "[app]\ncommand = [\"app\"]\n");
  const CommandOutput output = check({bad.path(), good.path()});
  CHECK(output.exit_code == 78);
  CHECK(output.standard_output == good.path() + ": ok\n");
  CHECK(output.standard_error == bad.path() +
                                     R"(:2:12: error: `command` holds the relative path "app"
    2 | command = ["app"]
      |            ^~~~~
      = note: it must be a list whose first element is the absolute path of the program
)" + bad.path() + ": 1 error\n");
}

TEST_CASE("The ten mistakes of the example are told in one run") {
  const auto text = pillion::read_file(PILLION_SOURCE_DIRECTORY "/examples/ten-mistakes.toml");
  REQUIRE(text.has_value());
  const auto result = parse_service(*text, "ten-mistakes.toml", test_options());
  CHECK(format_text(result.diagnostics) ==
        R"(ten-mistakes.toml:4:14: error: `stop_grace` cannot be the integer 30
    4 | stop_grace = 30                          # 1: a duration needs its unit
      |              ^~
      = note: it must be a duration with its unit, such as "500ms", "10s", "5m" or "1h30m"
ten-mistakes.toml:7:8: error: `mode` cannot be "bridgd"
    7 | mode = "bridgd"                          # 2: no such mode
      |        ^~~~~~~~
      = note: it must be one of `bridged`, `sealed`, `host` and `join`
      = note: did you mean `bridged`?
ten-mistakes.toml:8:20: error: port 8080 of the host is used twice
    8 | publish = ["8080", "8080:9090"]          # 3: one host port twice
      |                    ^~~~~~~~~~~
      = note: "8080" has it already
ten-mistakes.toml:11:8: error: `path` holds the relative path "var/log/app"
   11 | path = "var/log/app"                     # 4: a relative path
      |        ^~~~~~~~~~~~~
      = note: it must be an absolute path, starting with `/`
ten-mistakes.toml:15:8: error: there is no user `no-such-user`
   15 | user = "no-such-user"                    # 5: nobody of that name
      |        ^~~~~~~~~~~~~~
      = note: create it (useradd --system no-such-user) or give a uid
ten-mistakes.toml:16:1: error: unknown key `prots` in [app]
   16 | prots = [{ name = "http", port = 8080 }] # 6: an unknown key
      | ^~~~~
      = note: did you mean `ports`?
ten-mistakes.toml:17:21: error: `readiness_probe` has no `port`
   17 | readiness_probe = { http = { path = "/healthz" } } # 7: a probe without a port
      |                     ^~~~
      = note: give one, or declare the child's `ports`
ten-mistakes.toml:18:18: error: the environment variable `ORDERS_TOKEN` is not set
   18 | env = { TOKEN = "${ORDERS_TOKEN}" }      # 8: a variable that is not set
      |                  ^~~~~~~~~~~~~~~
      = note: set it, or give a default: `${ORDERS_TOKEN:-value}`
ten-mistakes.toml:22:1: error: both `use` and `command` are set in [adapter.logs]
   22 | command = ["/usr/bin/fluent-bit"]        # 9: both `use` and `command`
      | ^~~~~~~
      = note: set exactly one of `use` and `command`
ten-mistakes.toml:23:10: error: a cycle of children that wait for each other
   23 | after = ["ship"]
      |          ^~~~~~
      = note: `logs` waits for `ship`, which waits for `logs`
)");
}

TEST_CASE("JSON reports hold the same problems") {
  const TestFile bad("bad.toml", "[app]\ncommand = [\"app\"]\n");
  const CommandOutput output = check({bad.path()}, ReportFormat::Json);
  CHECK(output.exit_code == 78);
  CHECK(output.standard_error.empty());
  CHECK(output.standard_output ==
        "[\n {\"severity\": \"error\", \"file\": \"" + bad.path() +
            "\", \"line\": 2, \"column\": 12, \"length\": 5, \"message\": \"`command` holds the "
            "relative path \\\"app\\\"\", \"notes\": [\"it must be a list whose first element is "
            "the absolute path of the program\"]}\n]\n");
}

TEST_CASE("JSON reports of good files are an empty list") {
  const TestFile file("orders.toml", "[app]\ncommand = [\"/bin/app\"]\n");
  const CommandOutput output = check({file.path()}, ReportFormat::Json);
  CHECK(output.exit_code == 0);
  CHECK(output.standard_output == "[]\n");
}

TEST_CASE("Colour is only escape sequences") {
  const TestFile bad("bad.toml", "[app]\ncommand = [\"app\"]\n");
  const CommandOutput plain = check({bad.path()});
  CommandOutput coloured =
      check_files({.files = {bad.path()}, .with_colour = true}, test_options());
  std::string& text = coloured.standard_error;
  CHECK(text.find("\x1b[1;31merror:\x1b[0m") != std::string::npos);
  for (std::size_t at = text.find('\x1b'); at != std::string::npos; at = text.find('\x1b')) {
    text.erase(at, text.find('m', at) - at + 1);
  }
  CHECK(text == plain.standard_error);
}

TEST_CASE("The effective configuration can be shown, whole or one child's") {
  const TestFile file("order-processor.toml", kOrderProcessor);
  const CommandOutput whole = show_config(file.path(), "", {}, test_options());
  CHECK(whole.exit_code == 0);
  CHECK(whole.standard_output.find("\n[sidecar.proxy.config.drain]\nminimum = \"5s\"\n") !=
        std::string::npos);
  const CommandOutput logs = show_config(file.path(), "logs", {}, test_options());
  CHECK(logs.exit_code == 0);
  CHECK(logs.standard_output.starts_with("service = \"order-processor\"\n"));
  const CommandOutput none = show_config(file.path(), "nobody", {}, test_options());
  CHECK(none.exit_code == 78);
  CHECK(none.standard_error.ends_with(": error: there is no child `nobody`\n"));
}

TEST_CASE("A bad file has no effective configuration") {
  const TestFile bad("bad.toml", "[app]\ncommand = [\"app\"]\n");
  const CommandOutput output = show_config(bad.path(), "", {}, test_options());
  CHECK(output.exit_code == 78);
  CHECK(output.standard_output.empty());
  CHECK_FALSE(output.standard_error.empty());
}
