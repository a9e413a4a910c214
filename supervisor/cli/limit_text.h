// Amounts on the command line, in the habits of systemd, Docker and Kubernetes, as the service file
// writes them.
#pragma once

#include <string>

namespace pillion::supervisor::cli {

// "50%" → "500m"; anything else as it is.
std::string cpu_text(const std::string& text);
// "256M" and "256Mi" → "256MiB", "1G" → "1GiB"; anything else as it is.
std::string bytes_text(const std::string& text);

}  // namespace pillion::supervisor::cli
