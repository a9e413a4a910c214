// spdlog does the level gate, the time stamp and the locked write to stderr; the JSON line is made
// by a formatter flag, since spdlog does not escape.
#include "runtime/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "runtime/json_text.h"

namespace pillion::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::Debug: return spdlog::level::debug;
    case Level::Info: return spdlog::level::info;
    case Level::Warn: return spdlog::level::warn;
    case Level::Error: break;
  }
  return spdlog::level::err;
}

class JsonMessageFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string escaped;
    append_json_string(escaped, std::string_view(message.payload.data(), message.payload.size()));
    out.append(escaped.data(), escaped.data() + escaped.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessageFlag>();
  }
};

std::unique_ptr<spdlog::formatter> make_formatter(const Options& options) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  if (options.format == Format::Json) {
    std::string component;
    append_json_string(component, options.component);
    formatter->add_flag<JsonMessageFlag>('*').set_pattern(
        R"({"@timestamp":"%Y-%m-%dT%H:%M:%S.%eZ","log.level":"%l","component":)" + component +
        R"(,"message":%*})");
  } else {
    formatter->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l " + options.component + ": %v");
  }
  return formatter;
}

std::shared_ptr<spdlog::logger>& logger() {
  static auto instance = std::make_shared<spdlog::logger>(
      "pillion", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return instance;
}

}  // namespace

bool parse_level(std::string_view name, Level& level) {
  if (name == "debug")
    level = Level::Debug;
  else if (name == "info")
    level = Level::Info;
  else if (name == "warn")
    level = Level::Warn;
  else if (name == "error")
    level = Level::Error;
  else
    return false;
  return true;
}

Options options_from_environment(std::string component) {
  Options options;
  options.component = std::move(component);
  options.format = ::isatty(STDERR_FILENO) == 1 ? Format::Text : Format::Json;
  if (const char* format = std::getenv("PILLION_LOG_FORMAT")) {
    if (std::string_view(format) == "json") options.format = Format::Json;
    if (std::string_view(format) == "text") options.format = Format::Text;
  }
  if (const char* level = std::getenv("PILLION_LOG_LEVEL")) parse_level(level, options.level);
  return options;
}

void configure(const Options& options) {
  logger()->set_formatter(make_formatter(options));
  logger()->set_level(to_spdlog(options.level));
  logger()->flush_on(spdlog::level::debug);
}

void set_level(Level level) { logger()->set_level(to_spdlog(level)); }

Level level() {
  switch (logger()->level()) {
    case spdlog::level::debug: return Level::Debug;
    case spdlog::level::info: return Level::Info;
    case spdlog::level::warn: return Level::Warn;
    default: return Level::Error;
  }
}

bool is_enabled(Level level) { return logger()->should_log(to_spdlog(level)); }

void write(Level level, std::string_view message) {
  logger()->log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace pillion::log
