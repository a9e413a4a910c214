// pillion-probe: one HTTP(S) or gRPC health check, for the supervisor and by hand. Exit code 0:
// well; 1: not; 2: the check could not be made. One line on standard output says what was found.
//   pillion-probe http [--timeout MS] [--header 'Name: value']… URL
//   pillion-probe grpc [--timeout MS] [--service NAME] ADDRESS:PORT
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "supervisor/probe/check.h"

namespace {

using namespace pillion::supervisor::probe;

constexpr int kExitUsage = 64;

struct Arguments {
  std::string kind;
  std::string target;
  std::string service;
  std::vector<std::string> headers;
  std::chrono::milliseconds timeout{1000};
};

bool parse(int argc, char** argv, Arguments& arguments) {
  if (argc < 3) return false;
  arguments.kind = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    const bool has_value = i + 1 < argc;
    if (word == "--timeout" && has_value) {
      arguments.timeout = std::chrono::milliseconds(std::strtol(argv[++i], nullptr, 10));
    } else if (word == "--header" && has_value && arguments.kind == "http") {
      arguments.headers.emplace_back(argv[++i]);
    } else if (word == "--service" && has_value && arguments.kind == "grpc") {
      arguments.service = argv[++i];
    } else if (word.rfind("--", 0) != 0 && arguments.target.empty()) {
      arguments.target = word;
    } else {
      return false;
    }
  }
  const bool is_kind = arguments.kind == "http" || arguments.kind == "grpc";
  return is_kind && !arguments.target.empty() && arguments.timeout.count() > 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("pillion-probe %s\n", PILLION_VERSION);
    return 0;
  }
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fputs(
        "usage: pillion-probe http [--timeout MS] [--header 'Name: value']... URL\n"
        "       pillion-probe grpc [--timeout MS] [--service NAME] ADDRESS:PORT\n",
        stderr);
    return kExitUsage;
  }
  const CheckResult result =
      arguments.kind == "http"
          ? check_http({arguments.target, arguments.headers, arguments.timeout})
          : check_grpc({arguments.target, arguments.service, arguments.timeout});
  std::printf("%s\n", result.text.c_str());
  return static_cast<int>(result.verdict);
}
