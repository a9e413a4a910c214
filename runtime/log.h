// The programs' own log: one line per event on stderr, JSON or human text. The only mutable global
// of the project. Never log a secret or a payload.
//
//   log::configure({.component = "pillion-proxy"});
//   log::warn("cannot connect to {}: {}", address, error.message());
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace pillion::log {

enum class Level { Debug, Info, Warn, Error };
enum class Format { Json, Text };

struct Options {
  std::string component;
  Format format = Format::Text;
  Level level = Level::Info;
};

// Options with PILLION_LOG_FORMAT (json, text; default: text on a terminal, else json) and
// PILLION_LOG_LEVEL (debug, info, warn, error) applied.
Options options_from_environment(std::string component);

void configure(const Options& options);
void set_level(Level level);
Level level();
// "debug", "info", "warn", "error"; false when `name` is none of them.
bool parse_level(std::string_view name, Level& level);

// Writes one record; thread-safe.
void write(Level level, std::string_view message);
bool is_enabled(Level level);

template<class... Args>
void write_formatted(Level level, fmt::format_string<Args...> format, Args&&... args) {
  if (is_enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
}
template<class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write_formatted(Level::Debug, format, std::forward<Args>(args)...);
}
template<class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write_formatted(Level::Info, format, std::forward<Args>(args)...);
}
template<class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write_formatted(Level::Warn, format, std::forward<Args>(args)...);
}
template<class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write_formatted(Level::Error, format, std::forward<Args>(args)...);
}

}  // namespace pillion::log
