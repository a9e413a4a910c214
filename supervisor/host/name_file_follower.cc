#include "supervisor/host/name_file_follower.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "netns/name_files.h"
#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

// Programs write such files in several steps; one look after the last is enough.
constexpr auto kSettle = std::chrono::milliseconds(100);

std::string text_of(const std::string& path) {
  auto text = read_file(path);
  return text ? *text : "";
}

std::string real_path(const std::string& path) {
  char buffer[PATH_MAX];
  return ::realpath(path.c_str(), buffer) ? buffer : "";
}

}  // namespace

NameFileFollower::NameFileFollower(Loop& loop, netns::Wanted wanted, netns::Facts facts,
                                   std::string directory, std::string root)
    : wanted_(std::move(wanted)),
      own_aliases_(wanted_.aliases),
      facts_(std::move(facts)),
      directory_(std::move(directory)),
      root_(std::move(root)),
      settle_(loop) {
  inotify_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (inotify_) poll_.emplace(loop, inotify_.get());
}

Result<void> NameFileFollower::start(std::function<void(const std::string&)> on_change) {
  if (!inotify_) return fail("cannot watch the host's resolv.conf: no inotify instance is left");
  on_change_ = std::move(on_change);
  for (const char* path : {"/etc", "/run/systemd/resolve"}) watch(root_ + path);
  for (const char* name : {"/etc/resolv.conf", "/etc/hosts"}) {
    // Where it is a link, what it leads to changes; where a container runtime bound a file over
    // it, the directory tells nothing.
    const std::string target = real_path(root_ + name);
    if (target.empty()) continue;
    watch(target.substr(0, target.rfind('/')));
    watch(target);
  }
  poll_->start(kReadable, [this](int, int) { on_event(); });
  return {};
}

// A directory that is not there (no systemd-resolved) has nothing to say.
void NameFileFollower::watch(const std::string& path) {
  if (path.empty()) return;
  ::inotify_add_watch(inotify_.get(), path.c_str(),
                      IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE);
}

void NameFileFollower::on_event() {
  alignas(8) char buffer[4096];
  while (::read(inotify_.get(), buffer, sizeof buffer) > 0) {
  }
  settle_.start(kSettle, [this] {
    const std::string names = update();
    if (!names.empty() && on_change_) on_change_(names);
  });
}

void NameFileFollower::set_neighbours(const std::vector<netns::HostAlias>& neighbours) {
  wanted_.aliases = own_aliases_;
  wanted_.aliases.insert(wanted_.aliases.end(), neighbours.begin(), neighbours.end());
  update();
}

std::string NameFileFollower::update() {
  std::vector<std::string> warnings;  // said once at the start; nothing new to do about them
  const std::string host_resolv = text_of(root_ + "/etc/resolv.conf");
  const std::string host_hosts = text_of(root_ + "/etc/hosts");
  std::string names;
  const auto keep = [&](const char* name, const std::string& text) {
    if (rewrite(name, text)) names += (names.empty() ? "" : ", ") + std::string(name);
  };
  // A moment without the file (being replaced) is no news.
  if (!host_resolv.empty() && wanted_.mode == netns::Mode::Bridged) {
    keep("resolv.conf",
         netns::render_resolv_conf(wanted_.dns, host_resolv,
                                   text_of(root_ + "/run/systemd/resolve/resolv.conf"), warnings));
  }
  if (!host_hosts.empty()) {
    using netns::HostsReader;
    keep("hosts", netns::render_hosts(wanted_, facts_, host_hosts, HostsReader::Captured));
    keep("helper_hosts", netns::render_hosts(wanted_, facts_, host_hosts, HostsReader::Exempt));
  }
  return names;
}

// In one write and then cut to length: a reader never finds the file empty.
bool NameFileFollower::rewrite(const std::string& name, const std::string& text) {
  const std::string path = directory_ + "/" + name;
  auto file = open_file(path, O_RDWR);
  if (!file || text == text_of(path)) return false;
  auto written = write_all(file->get(), text);
  if (written && ::ftruncate(file->get(), static_cast<off_t>(text.size())) < 0) {
    written = fail_errno("cannot cut " + path);
  }
  if (!written) log::warn("the service's {} is out of date: {}", name, written.error().message());
  return written.has_value();
}

}  // namespace pillion::supervisor::host
