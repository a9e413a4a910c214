// Layouts: line formats written as text, `%{time} %{level} [%{process.thread.name}] %{message}`,
// and compiled to steps that the inner loops walk. Users write them (`format = "pattern"`); most of
// the formats that have a name are layouts too, see named_layouts.h.
//
//   %{field}          up to the text that follows in the layout, or to the end of the line
//   %{field:word}     up to the next blank            %{field:number}  a number
//   %{field:tag}      up to a blank, colon or [       %{field:logger}  a tag that holds a dot
//   %{field:quoted}   "…" with its escapes; or one word when there is no quote
//   %{field:rest}     to the end of the line
//   %{field:sd}       the structured data of RFC 5424: a field FIELD.ID.NAME for each parameter
//   %{time}           a time, see spelled_time.h      %{time:syslog}, %{time:ctime}, %{time:klog}
//   %{level}          a word for a level              %{level:letter}, %{level:redis} (. - * #)
//   %{priority}       of syslog: the level and log.syslog.priority (RFC 5424, 6.2.1)
//   %{pairs}          key=value pairs and words, to the end of the line
//   %{message}        to the end of the line, or up to the text that follows
//   %{}, %{:word}     is skipped; also %{:time}, and %{:zone}: a time zone's letters, CEST
//   %(…%)             may be absent as a whole; not nested
//   %%                a percent sign
//
// A blank in a layout stands for one or more blanks in the line, a dash for an absent value is no
// field. Fields keep numbers as numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/spelled_time.h"
#include "runtime/result.h"

namespace pillion::logs {

enum class StepKind : std::uint8_t {
  Literal,
  Blanks,
  Time,  // in any spelling, or in `spelling`
  Zone,
  Level,
  LetterLevel,
  RedisLevel,
  Priority,
  Until,  // a field up to the literals that follow
  Word,
  Tag,
  Logger,
  Number,
  Quoted,
  StructuredData,
  Rest,
  Pairs,
  Group,  // may be absent: on failure the walk goes on at `skip_to`
  EndGroup,
};

enum class FieldRole : std::uint8_t { Field, Message, Skip };

struct LayoutStep {
  StepKind kind = StepKind::Literal;
  FieldRole role = FieldRole::Field;
  std::uint16_t skip_to = 0;
  std::optional<TimeSpelling> spelling;  // of Time; empty = any
  std::string text;  // of Literal: itself; of a field: its name, with padding for key_bucket
};

struct Layout {
  std::vector<LayoutStep> steps;

  // The error names the character, from 1: "character 7: unknown type \"worf\" …".
  static Result<Layout> compile(std::string_view text);
};

}  // namespace pillion::logs
