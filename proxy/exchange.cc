#include "proxy/exchange.h"

namespace pillion::proxy {

void Exchange::reset(BufferPool& buffers) {
  is_http10 = is_head = is_idempotent = wants_upgrade = is_request_complete = false;
  request_framing = {};
  request_remaining = 0;
  request_chunks.reset();
  request.clear();
  request_sent = 0;
  if (!upstream_out.is_empty()) upstream_out.release(buffers);
  is_replayable = true;
  cluster.reset();
  endpoint.reset();
  upstream.reset();
  attempts = 0;
  attempts_max = 2;
  is_stale_retried = is_request_abandoned = false;
  is_fresh_connection_needed = was_connection_reused = false;
  bytes_written_upstream = 0;
  response_state = ResponseState::AwaitingHead;
  downstream_coding = DownstreamCoding::Plain;
  response_held.clear();
  response_progress = {};
  response_framing = {};
  response_remaining = 0;
  response_chunks.reset();
  is_upstream_reusable = false;
  request_id.clear();
  stats = nullptr;
  status = 0;
  flag = Flag::None;
  details = {};
  bytes_received = bytes_sent = 0;
  started_ns = upstream_started_ns = upstream_ended_ns = 0;
}

}  // namespace pillion::proxy
