// Completion scripts are made from the commands there are.
#include <catch2/catch.hpp>

#include "supervisor/cli/completion_scripts.h"

namespace pillion::supervisor::cli {
namespace {

const std::vector<CompletedCommand> kCommands = {
    {"stop",
     "Drain it, don't kill it",
     {{{"--grace", "-g"}, "Time for [it]", true}, {{"--json"}, "As JSON", false}},
     {CompletedWord::Service, CompletedWord::Child}}};

}  // namespace

TEST_CASE("bash gets options, those that take a value, and what the words are") {
  const std::string script = bash_completion(kCommands);
  CHECK(script.find("    stop) options=\"--grace -g --json\"; valued=\"--grace -g\"; "
                    "words=\"service child\" ;;\n") != std::string::npos);
  CHECK(script.find("compgen -W \"stop --help --version\"") != std::string::npos);
}

TEST_CASE("zsh gets descriptions in which nothing means something to the shell") {
  const std::string script = zsh_completion(kCommands);
  CHECK(script.find("'stop:Drain it, don’t kill it'") != std::string::npos);
  CHECK(script.find("'--grace[Time for \\[it\\]]:value:_files'") != std::string::npos);
  CHECK(script.find("'1:service:_pillion_services' '2:child:_pillion_children'") !=
        std::string::npos);
}

TEST_CASE("fish gets long and short names apart") {
  const std::string script = fish_completion(kCommands);
  CHECK(script.find("-l grace -s g -r -d 'Time for [it]'") != std::string::npos);
  CHECK(script.find("-l json -d 'As JSON'") != std::string::npos);
}

}  // namespace pillion::supervisor::cli
