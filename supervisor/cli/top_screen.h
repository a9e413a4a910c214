// A terminal taken over for a while: the alternate screen, keys one by one, the size as it changes.
// Everything is given back when the object goes, also after SIGINT, SIGTERM and SIGHUP.
#pragma once

#include <termios.h>

#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::cli {

class TopScreen {
 public:
  // Both standard input and output must be terminals.
  static Result<TopScreen> open();
  ~TopScreen();
  TopScreen(TopScreen&& other) noexcept;
  TopScreen& operator=(TopScreen&&) = delete;

  struct Size {
    unsigned columns = 80;
    unsigned rows = 24;
  };
  Size size() const;
  // Lines that end in a newline; cut to the size.
  void draw(std::string_view text);

  enum class Wake { Key, Resized, Timeout, Quit };
  // Waits for the first of them; `key` is set for Key.
  Wake wait(Duration timeout, char& key);

 private:
  TopScreen(Fd signals, const termios& before) : signals_(std::move(signals)), before_(before) {}

  Fd signals_;  // closed = moved from
  termios before_;
};

// The first `columns` visible characters of a line, its colour sequences kept and ended.
std::string cut_line(std::string_view line, std::size_t columns);

}  // namespace pillion::supervisor::cli
