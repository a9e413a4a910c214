#include "supervisor/cli/completion_scripts.h"

#include <fmt/format.h>

namespace pillion::supervisor::cli {

namespace {

// clang-format off
constexpr const char* kBashHead = R"sh(# Completion of pillion(8) for bash; made by `pillion completion bash`.
_pillion() {
  local word="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
  local command="" options="" valued="" words="" position=0 service="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      -*) ;;
      *) command="${COMP_WORDS[i]}"; break ;;
    esac
  done
  case "$command" in
)sh";

constexpr const char* kBashTail = R"sh(  esac
  case " $valued " in
    *" $previous "*) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
  esac
  if [[ "$word" == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    return
  fi
  for ((i = i + 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      -*) ;;
      *)
        case " $valued " in *" ${COMP_WORDS[i-1]} "*) continue ;; esac
        [[ -z "$service" ]] && service="${COMP_WORDS[i]}"
        position=$((position + 1)) ;;
    esac
  done
  set -- $words
  while ((position > 0 && $# > 1)); do shift; position=$((position - 1)); done
  case "${1:-}" in
    service) words="$(pillion completion services 2>/dev/null)" ;;
    child) words="$(pillion completion children "$service" 2>/dev/null)" ;;
    file) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    *) return ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o filenames -o bashdefault -F _pillion pillion
)sh";

constexpr const char* kZshHead = R"sh(#compdef pillion
# Completion of pillion(8) for zsh; made by `pillion completion zsh`.
_pillion_services() {
  local -a names
  names=(${(f)"$(pillion completion services 2>/dev/null)"})
  compadd -a names
}
_pillion_children() {
  local -a names
  names=(${(f)"$(pillion completion children ${words[2]} 2>/dev/null)"})
  compadd -a names
}
_pillion() {
  local -a commands
  if (( CURRENT == 2 )); then
    commands=(
)sh";
// clang-format on

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string option_words(const CompletedCommand& command, bool only_valued) {
  std::vector<std::string> words;
  for (const CompletedOption& option : command.options) {
    if (only_valued && !option.takes_value) continue;
    words.insert(words.end(), option.names.begin(), option.names.end());
  }
  return join(words);
}

const char* name_of(CompletedWord word) {
  switch (word) {
    case CompletedWord::Service: return "service";
    case CompletedWord::Child: return "child";
    case CompletedWord::File: return "file";
    case CompletedWord::Nothing: break;
  }
  return "nothing";
}

// Within single quotes, of each of the shells.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("’") : std::string(1, c);
  return out + "'";
}

// For zsh's _arguments and _describe, where brackets and colons mean something.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

const char* zsh_action(CompletedWord word) {
  switch (word) {
    case CompletedWord::Service: return "service:_pillion_services";
    case CompletedWord::Child: return "child:_pillion_children";
    case CompletedWord::File: return "file:_files";
    case CompletedWord::Nothing: break;
  }
  return "word: ";
}

}  // namespace

std::string bash_completion(const std::vector<CompletedCommand>& commands) {
  std::string out = kBashHead;
  std::string names;
  for (const CompletedCommand& command : commands) {
    names += (names.empty() ? "" : " ") + command.name;
    std::vector<std::string> words;
    for (const CompletedWord word : command.words) words.emplace_back(name_of(word));
    out += fmt::format("    {}) options=\"{}\"; valued=\"{}\"; words=\"{}\" ;;\n", command.name,
                       option_words(command, false), option_words(command, true), join(words));
  }
  out += fmt::format(
      "    \"\") mapfile -t COMPREPLY < <(compgen -W \"{} --help --version\" -- \"$word\"); return "
      ";;\n",
      names);
  return out + kBashTail;
}

std::string zsh_completion(const std::vector<CompletedCommand>& commands) {
  std::string out = kZshHead;
  for (const CompletedCommand& command : commands) {
    out += fmt::format("      {}\n", quoted(plain(command.name) + ":" + command.description));
  }
  out +=
      "    )\n    _describe command commands\n    return\n  fi\n  shift words; (( CURRENT-- ))\n";
  out += "  case ${words[1]} in\n";
  for (const CompletedCommand& command : commands) {
    out += fmt::format("    {}) _arguments", command.name);
    for (const CompletedOption& option : command.options) {
      for (const std::string& name : option.names) {
        out += " " + quoted(fmt::format("{}[{}]{}", name, plain(option.description),
                                        option.takes_value ? ":value:_files" : ""));
      }
    }
    for (std::size_t i = 0; i < command.words.size(); ++i) {
      out += " " + quoted(fmt::format("{}:{}", i + 1, zsh_action(command.words[i])));
    }
    out += " ;;\n";
  }
  return out + "  esac\n}\n_pillion \"$@\"\n";
}

std::string fish_completion(const std::vector<CompletedCommand>& commands) {
  std::string out =
      "# Completion of pillion(8) for fish; made by `pillion completion fish`.\n"
      "function __pillion_children\n"
      "  set -l words (commandline -opc)\n"
      "  test (count $words) -ge 3; and pillion completion children $words[3] 2>/dev/null\n"
      "end\n"
      "complete -c pillion -f\n";
  for (const CompletedCommand& command : commands) {
    out += fmt::format("complete -c pillion -n __fish_use_subcommand -a {} -d {}\n", command.name,
                       quoted(command.description));
    const std::string seen = fmt::format("-n '__fish_seen_subcommand_from {}'", command.name);
    for (const CompletedOption& option : command.options) {
      std::string names;
      for (const std::string& name : option.names) {
        names += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      out += fmt::format("complete -c pillion {}{}{} -d {}\n", seen, names,
                         option.takes_value ? " -r" : "", quoted(option.description));
    }
    for (const CompletedWord word : command.words) {
      if (word == CompletedWord::Service) {
        out += fmt::format(
            "complete -c pillion {} -a '(pillion completion services 2>/dev/null)'\n", seen);
      } else if (word == CompletedWord::Child) {
        out += fmt::format("complete -c pillion {} -a '(__pillion_children)'\n", seen);
      } else if (word == CompletedWord::File) {
        out += fmt::format("complete -c pillion {} -F\n", seen);
      }
    }
  }
  return out;
}

}  // namespace pillion::supervisor::cli
