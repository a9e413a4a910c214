#include "supervisor/host/accepted_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "config/load.h"
#include "config/render.h"
#include "config/system_lookup.h"
#include "runtime/file_replacement.h"
#include "runtime/log.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {
namespace {

constexpr char kAccepted[] = "";
constexpr char kPrevious[] = ".previous";
constexpr char kStaged[] = ".next";

}  // namespace

config::Service completed(config::Service service) {
  config::complete_components(service);
  return service;
}

AcceptedFile::AcceptedFile(config::Service service, const ServicePaths& paths)
    : service_(std::move(service)), directory_(paths.accepted_directory()) {}

std::string AcceptedFile::path(const char* kind) const {
  return directory_ + "/" + service_.name() + kind + ".toml";
}

Result<void> AcceptedFile::write() const {
  if (auto made = make_directories(directory_, 0700); !made) return made;
  return replace_file(path(kAccepted), config::render_service(service_), 0600,
                      Survives::ProcessCrash);
}

Result<void> AcceptedFile::stage(config::Service next) {
  auto written =
      replace_file(path(kStaged), config::render_service(next), 0600, Survives::ProcessCrash);
  if (written) staged_ = std::move(next);
  return written;
}

Result<void> AcceptedFile::accept() {
  if (!staged_) return fail("no configuration is staged");
  service_ = std::move(*staged_);
  staged_.reset();
  // A supervisor that ends in between starts with the file before: then nothing was reloaded.
  ::unlink(path(kPrevious).c_str());
  if (::link(path(kAccepted).c_str(), path(kPrevious).c_str()) < 0) {
    log::warn("cannot keep {}: {}", path(kPrevious), std::strerror(errno));
  }
  if (::rename(path(kStaged).c_str(), path(kAccepted).c_str()) < 0) {
    return fail_errno("cannot replace " + path(kAccepted));
  }
  return {};
}

void AcceptedFile::drop_staged() {
  if (staged_) ::unlink(path(kStaged).c_str());
  staged_.reset();
}

std::optional<config::Service> AcceptedFile::load_previous() const {
  if (::access(path(kPrevious).c_str(), R_OK) < 0) return {};
  auto loaded = config::load_service(path(kPrevious), config::system_load_options());
  if (!loaded.value) return {};
  return completed(std::move(*loaded.value));
}

void AcceptedFile::forget_previous() const { ::unlink(path(kPrevious).c_str()); }

void AcceptedFile::remove() const {
  for (const char* kind : {kAccepted, kPrevious, kStaged}) ::unlink(path(kind).c_str());
  ::rmdir(directory_.c_str());
}

}  // namespace pillion::supervisor::host
