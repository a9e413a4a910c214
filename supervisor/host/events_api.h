// The routes of the control API that show what happened: events (a stream on demand) and the
// timeline.
#pragma once

#include <vector>

#include "runtime/http_server.h"
#include "runtime/loop.h"
#include "supervisor/control/api.h"
#include "supervisor/host/event_history.h"

namespace pillion::supervisor::host {

class EventsApi {
 public:
  // Adds its routes to `api` and listens to `history`, which must outlive it.
  EventsApi(Loop& loop, control::Api& api, EventHistory& history);
  ~EventsApi();
  EventsApi(const EventsApi&) = delete;
  EventsApi& operator=(const EventsApi&) = delete;

  // Ends the streams: the service is over.
  void finish();

 private:
  struct Follower {
    control::EventFilter filter;
    HttpStream stream;
  };

  void list(const control::ApiRequest& request, const control::Responder& reply);
  void send(const control::EventRecord& event);
  void beat();

  EventHistory& history_;
  std::vector<Follower> followers_;  // bounded by the connections of the server
  Timer heartbeat_;
};

}  // namespace pillion::supervisor::host
