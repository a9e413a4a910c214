// The service's file as it was accepted, kept below the runtime directory: an edit of the
// operator's file means nothing to a restarted supervisor. A reload stages the next one beside it,
// and keeps the one before until no child goes by it any more.
#pragma once

#include <optional>
#include <string>

#include "config/service.h"
#include "runtime/result.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

// With what component tables take from the service filled in.
config::Service completed(config::Service service);

class AcceptedFile {
 public:
  // `service` is as it was loaded, not completed.
  AcceptedFile(config::Service service, const ServicePaths& paths);

  const config::Service& service() const { return service_; }
  Result<void> write() const;

  // Writes the one that may become the accepted one; one at a time.
  Result<void> stage(config::Service next);
  // Takes the staged one. Needs no space on the disk.
  Result<void> accept();
  void drop_staged();

  // Completed; empty when there is none.
  std::optional<config::Service> load_previous() const;
  void forget_previous() const;

  // The service is over.
  void remove() const;

 private:
  std::string path(const char* kind) const;

  config::Service service_;
  std::optional<config::Service> staged_;
  std::string directory_;
};

}  // namespace pillion::supervisor::host
