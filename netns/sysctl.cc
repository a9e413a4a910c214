#include "netns/sysctl.h"

#include <fcntl.h>

#include "runtime/fd.h"

namespace pillion::netns {

std::string read_sysctl(const std::string& name) {
  auto text = read_file("/proc/sys/" + name);
  if (!text) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

Result<void> write_sysctl(const std::string& name, std::string_view value) {
  if (read_sysctl(name) == value) return {};
  auto file = open_file("/proc/sys/" + name, O_WRONLY);
  if (!file) return fail(file.error());
  return write_all(file->get(), value);
}

std::string sysctl_display_name(std::string_view name) {
  std::string text(name);
  for (char& c : text) c = c == '/' ? '.' : c == '.' ? '/' : c;
  return text;
}

}  // namespace pillion::netns
