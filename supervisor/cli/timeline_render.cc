#include "supervisor/cli/timeline_render.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "supervisor/cli/text_table.h"
#include "supervisor/control/time_text.h"

namespace pillion::supervisor::cli {

namespace {

using control::TimelineBar;
using control::TimelinePart;
using control::TimelineSegment;

struct Look {
  const char* label;
  const char* glyph;
  Colour colour;
  const char* fill;  // in the picture
  const char* meaning;
};
constexpr Look kLooks[] = {
    {"set-up", "▒", Colour::Dim, "#9aa0a6", "set-up"},
    {"rules", "▒", Colour::Dim, "#9aa0a6", "capture rules"},
    {"removal", "▒", Colour::Dim, "#9aa0a6", "removal"},
    {"exec", "░", Colour::Dim, "#c5cbd3", "fork to exec"},
    {"gate", "█", Colour::Cyan, "#4285f4", "until its gate"},
    {"ready", "▓", Colour::Green, "#34a853", "until ready"},
    {"pre_stop", "░", Colour::Dim, "#c5cbd3", "pre_stop"},
    {"stop", "█", Colour::Yellow, "#f9ab00", "after its signal"},
    {"kill", "█", Colour::Red, "#d93025", "after SIGKILL"},
};

const Look& look_of(const TimelineSegment& segment) {
  for (const Look& look : kLooks) {
    if (segment.label == look.label) return look;
  }
  return kLooks[0];
}

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string in_words(Duration duration) {
  const double ms = milliseconds(duration);
  if (ms < 10) return fmt::format("{:.1f}ms", ms);
  return ms < 10'000 ? fmt::format("{:.0f}ms", ms) : fmt::format("{:.1f}s", ms / 1000);
}

std::string name_of(const TimelineBar& bar) {
  return bar.generation > 1 ? fmt::format("{}#{}", bar.name, bar.generation) : bar.name;
}

// Columns [from, to) of a segment; at least one, so that nothing is invisible.
std::pair<std::size_t, std::size_t> columns_of(const TimelineSegment& segment, Duration total,
                                               std::size_t width) {
  const double scale = static_cast<double>(width) / std::max(milliseconds(total), 1e-6);
  const auto column = [&](Duration at) {
    const double value = std::round(milliseconds(at) * scale);
    return std::min(static_cast<std::size_t>(value), width);
  };
  const std::size_t from = std::min(column(segment.from), width - 1);
  return {from, std::max(column(segment.to), from + 1)};
}

std::string bar_text(const TimelineBar& bar, Duration total, std::size_t width, bool with_colour) {
  std::string text;
  std::size_t at = 0;
  for (const TimelineSegment& segment : bar.segments) {
    auto [from, to] = columns_of(segment, total, width);
    from = std::max(from, at);
    if (to <= from) continue;
    text.append(from - at, ' ');
    std::string glyphs;
    for (std::size_t i = from; i < to; ++i) glyphs += look_of(segment).glyph;
    text += paint(glyphs, look_of(segment).colour, with_colour);
    at = to;
  }
  text.append(width - at, ' ');
  return text;
}

std::string title_of(const std::string& service, const TimelinePart& part, bool is_start) {
  const char* verb = is_start ? (part.is_complete ? "was ready in" : "is not ready after")
                              : (part.is_complete ? "stopped in" : "is still stopping after");
  return fmt::format("{} {} {}", service, verb, in_words(part.total));
}

std::string render_part(const std::string& service, const TimelinePart& part, bool is_start,
                        std::size_t width, bool with_colour) {
  std::string out = paint(title_of(service, part, is_start), Colour::Bold, with_colour);
  out += fmt::format("  ({})\n", control::format_time(part.began).substr(0, 19) + "Z");
  std::size_t name_width = 0;
  for (const TimelineBar& bar : part.bars) name_width = std::max(name_width, name_of(bar).size());
  for (const TimelineBar& bar : part.bars) {
    std::string parts;
    for (const TimelineSegment& segment : bar.segments) {
      parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", segment.label,
                           in_words(segment.to - segment.from));
    }
    if (!bar.note.empty()) parts += "; " + bar.note;
    out += fmt::format("  {} {:<{}} {} {:>8}  {}\n", bar.is_critical ? "*" : " ", name_of(bar),
                       name_width, bar_text(bar, part.total, width, with_colour),
                       in_words(bar.to() - bar.from()), parts);
  }
  return out;
}

std::string escape_xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default:
        // Other control characters are not XML.
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

constexpr int kRow = 22;
constexpr int kNameWidth = 160;
constexpr int kChartWidth = 640;
constexpr int kTimeWidth = 100;
constexpr int kMargin = 16;

void draw_bar(std::string& svg, const TimelineBar& bar, Duration total, int y) {
  const double scale = kChartWidth / std::max(milliseconds(total), 1e-6);
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\"{}>{}</text>\n",
                     kMargin + kNameWidth - 8, y + 15,
                     bar.is_critical ? " font-weight=\"bold\"" : "", escape_xml(name_of(bar)));
  for (const TimelineSegment& segment : bar.segments) {
    const double x = kMargin + kNameWidth + milliseconds(segment.from) * scale;
    const double width = std::max(milliseconds(segment.to - segment.from) * scale, 1.0);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"><title>{} {}: {}"
        "</title></rect>\n",
        x, y + 3, width, kRow - 6, look_of(segment).fill, escape_xml(bar.name),
        look_of(segment).meaning, in_words(segment.to - segment.from));
  }
  const std::string note = bar.note.empty() ? "" : " (" + bar.note + ")";
  svg +=
      fmt::format("<text x=\"{}\" y=\"{}\">{}{}</text>\n", kMargin + kNameWidth + kChartWidth + 8,
                  y + 15, in_words(bar.to() - bar.from()), escape_xml(note));
}

int draw_part(std::string& svg, const std::string& title, const TimelinePart& part, int y) {
  svg += fmt::format("<text x=\"{}\" y=\"{}\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
                     kMargin, y + 15, escape_xml(title));
  y += kRow + 4;
  for (int i = 0; i <= 4; ++i) {
    const int x = kMargin + kNameWidth + kChartWidth * i / 4;
    const int bottom = y + kRow * (static_cast<int>(part.bars.size()) + 1);
    svg += fmt::format("<line x1=\"{0}\" y1=\"{1}\" x2=\"{0}\" y2=\"{2}\" stroke=\"#e0e0e0\"/>\n",
                       x, y + kRow, bottom);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{}</text>\n",
                       x, y + 15, in_words(part.total * i / 4));
  }
  y += kRow;
  for (const TimelineBar& bar : part.bars) {
    draw_bar(svg, bar, part.total, y);
    y += kRow;
  }
  return y + kRow;
}

}  // namespace

std::string render_timeline(const std::string& service, const control::Timeline& timeline,
                            std::size_t width, bool with_colour) {
  std::string out;
  if (timeline.start) out += render_part(service, *timeline.start, true, width, with_colour);
  if (timeline.stop) {
    out +=
        (out.empty() ? "" : "\n") + render_part(service, *timeline.stop, false, width, with_colour);
  }
  const auto is_critical = [](const TimelineBar& bar) { return bar.is_critical; };
  if (timeline.start &&
      std::any_of(timeline.start->bars.begin(), timeline.start->bars.end(), is_critical)) {
    out += "\n* made the start as long as it was\n";
  }
  return out;
}

std::string render_timeline_svg(const std::string& service, const control::Timeline& timeline) {
  std::string body;
  int y = kMargin;
  if (timeline.start) {
    y = draw_part(body, title_of(service, *timeline.start, true), *timeline.start, y);
  }
  if (timeline.stop) {
    y = draw_part(body, title_of(service, *timeline.stop, false), *timeline.stop, y);
  }
  const int width = 2 * kMargin + kNameWidth + kChartWidth + 2 * kTimeWidth;
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n{2}</svg>\n",
      width, y + kMargin, body);
}

}  // namespace pillion::supervisor::cli
