// One request and its response, with every attempt made for it. Exchanges are reused: their strings
// keep their memory, so that a request in the steady state allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/buffers.h"
#include "proxy/cluster.h"
#include "proxy/stats.h"
#include "proxy/upstream_connection.h"
#include "runtime/http1/chunked.h"
#include "runtime/http1/framing.h"

namespace pillion::proxy {

struct Exchange {
  // ---- The request, as received.
  std::string method;
  std::string path;
  std::string authority;
  std::string request_id;
  bool is_http10 = false;
  bool is_head = false;
  bool is_idempotent = false;
  bool wants_upgrade = false;
  bool is_request_complete = false;  // its last byte has come
  http1::Framing request_framing;
  std::uint64_t request_remaining = 0;
  http1::ChunkedDecoder request_chunks;

  // ---- What goes upstream: head and early body, kept for a retry; then the body as it streams.
  std::string request;
  std::size_t request_sent = 0;
  ByteQueue upstream_out;
  bool is_replayable = true;  // nothing was streamed past `request`

  // ---- The attempt under way.
  std::shared_ptr<Cluster> cluster;    // shared: the route table may change meanwhile
  std::shared_ptr<Endpoint> endpoint;  // shared: see EndpointTable
  std::unique_ptr<UpstreamConnection> upstream;
  unsigned attempts = 0;
  unsigned attempts_max = 2;
  bool is_fresh_connection_needed = false;
  bool is_stale_retried = false;
  bool is_request_abandoned = false;  // the upstream takes no more of it
  bool was_connection_reused = false;
  std::size_t bytes_written_upstream = 0;  // in this attempt

  // ---- The response.
  enum class ResponseState : std::uint8_t { AwaitingHead, Body, Done };
  enum class DownstreamCoding : std::uint8_t { Plain, Chunked, UntilClose };
  ResponseState response_state = ResponseState::AwaitingHead;
  DownstreamCoding downstream_coding = DownstreamCoding::Plain;
  std::string response_held;  // a head that came in parts
  http1::ParseProgress response_progress;
  http1::Framing response_framing;
  std::uint64_t response_remaining = 0;
  http1::ChunkedDecoder response_chunks;
  bool is_upstream_reusable = false;

  // ---- For the log.
  RouteStats* stats = nullptr;
  int status = 0;
  Flag flag = Flag::None;
  std::string_view details;  // static text
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  std::int64_t started_ns = 0;
  std::int64_t upstream_started_ns = 0;  // 0: never sent
  std::int64_t upstream_ended_ns = 0;

  // Everything as new, memory kept.
  void reset(BufferPool& buffers);
};

}  // namespace pillion::proxy
