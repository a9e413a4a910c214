// Completion scripts for shells, made from a plain description of the commands, so that they know
// every command and option there is. Pure.
#pragma once

#include <string>
#include <vector>

namespace pillion::supervisor::cli {

struct CompletedOption {
  std::vector<std::string> names;  // "--wait", "-w"
  std::string description;
  bool takes_value = false;
  bool operator==(const CompletedOption&) const = default;
};

// What a word without a dash can be.
enum class CompletedWord { Nothing, Service, Child, File };

struct CompletedCommand {
  std::string name;
  std::string description;
  std::vector<CompletedOption> options;
  std::vector<CompletedWord> words;  // by position; the last one counts for further ones
  bool operator==(const CompletedCommand&) const = default;
};

std::string bash_completion(const std::vector<CompletedCommand>& commands);
std::string zsh_completion(const std::vector<CompletedCommand>& commands);
std::string fish_completion(const std::vector<CompletedCommand>& commands);

}  // namespace pillion::supervisor::cli
