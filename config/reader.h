// What reading a tree into structs carries along: where problems go, which table is being read, and
// the injected look-ups. Problems never stop the reading.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/document.h"
#include "config/load.h"

namespace pillion::config {

class Reader {
 public:
  // All references must outlive the reader.
  Reader(const LoadOptions& options, std::string filename, std::vector<std::string_view> lines,
         std::vector<Diagnostic>& diagnostics);

  const LoadOptions& options() const { return options_; }

  void error(const Position& at, std::string message, std::vector<std::string> notes = {});
  void warning(const Position& at, std::string message, std::vector<std::string> notes = {});
  // Something is missing; silent when lines had to be skipped, since it may stand in them.
  void missing(const Position& at, std::string message, std::vector<std::string> notes = {});
  void set_partial(bool is_partial) { is_partial_ = is_partial; }

  // "[app.startup_probe]", or "the file" at the top.
  std::string table_name() const;
  bool is_at_top() const { return path_.empty(); }
  std::string_view source_line(std::size_t line) const;

  // Names the table being read while it lives.
  class Scope {
   public:
    Scope(Reader& reader, std::string_view key) : reader_(reader) {
      reader_.path_.emplace_back(key);
    }
    ~Scope() { reader_.path_.pop_back(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Reader& reader_;
  };

  // Replaces ${VAR} in every string below `node`; values are marked bad where that fails.
  void expand_variables(Node& node);

 private:
  void add(Severity severity, const Position& at, std::string message,
           std::vector<std::string> notes);
  void expand_string(Node& node);
  std::optional<std::string> value_of(std::string_view reference, const Position& at);
  Position find_in_source(const Position& from, std::string_view text) const;

  const LoadOptions& options_;
  std::string filename_;
  std::vector<std::string_view> lines_;
  std::vector<Diagnostic>& diagnostics_;
  std::vector<std::string> path_;
  bool is_partial_ = false;
};

// The candidate closest to `name` by edit distance, empty when none is near enough to be meant.
std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates);

// "`a`, `b` and `c`"
std::string list_names(const std::vector<std::string_view>& names, std::string_view conjunction);

}  // namespace pillion::config
