// Schema of probes, gates and hooks.
#include "config/probe.h"
#include "config/table_builder.h"

namespace pillion::config {
namespace {

constexpr std::string_view kPort =
    "Port of the child, by number or by the name of one of its `ports`.";
constexpr Rules kDefaultPort{.computed_default = "the child's only port"};

void check_probe(Reader& reader, const Node& node, Probe& probe) {
  const Node* timeout = node.find("timeout");
  if (timeout != nullptr && probe.period < probe.timeout) {
    reader.warning(timeout->position, "the probe's `timeout` is longer than its `period`",
                   {"a probe never overlaps itself, so it will run less often than `period` says"});
  }
}

}  // namespace

template<>
const TableSchema& schema_of<HttpAction>() {
  static const TableSchema schema =
      TableBuilder<HttpAction>("HTTP request",
                               "A GET inside the service's network namespace, straight to the "
                               "child; 200–399 is success, redirects to the same host included.")
          .field("path", &HttpAction::path, "Path and query.")
          .field("port", &HttpAction::port, kPort, kDefaultPort)
          .field("scheme", &HttpAction::scheme, "Certificates are not verified.")
          .field("address", &HttpAction::address, "Numeric address to connect to.",
                 {.computed_default = "127.0.0.1"})
          .field("headers", &HttpAction::headers, "Further headers, `Host` included.")
          .finish([](Reader& reader, const Node& node, HttpAction& action) {
            if (action.path.starts_with('/')) return;
            const Node* path = node.find("path");
            reader.error(path->position, "`path` cannot be \"" + action.path + "\"",
                         {"it must start with `/`"});
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<TcpAction>() {
  static const TableSchema schema =
      TableBuilder<TcpAction>("TCP connection", "A connection that opens is success.")
          .field("port", &TcpAction::port, kPort, kDefaultPort)
          .field("address", &TcpAction::address, "Numeric address to connect to.",
                 {.computed_default = "127.0.0.1"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Scrape>() {
  static const TableSchema schema =
      TableBuilder<Scrape>("Scrape", "Where the child serves metrics in Prometheus' text format.")
          .field("port", &Scrape::port, kPort, kDefaultPort)
          .field("path", &Scrape::path, "Path and query.")
          .field("address", &Scrape::address, "Numeric address to connect to.",
                 {.computed_default = "127.0.0.1"})
          .finish([](Reader& reader, const Node& node, Scrape& scrape) {
            if (scrape.path.starts_with('/')) return;
            reader.error(node.find("path")->position, "`path` cannot be \"" + scrape.path + "\"",
                         {"it must start with `/`"});
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ExecAction>() {
  static const TableSchema schema =
      TableBuilder<ExecAction>("Program", "Runs as the child does; exit code 0 is success.")
          .field("command", &ExecAction::command, "Program and arguments; no shell.",
                 {.required = true, .form = Form::Command})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<GrpcAction>() {
  static const TableSchema schema =
      TableBuilder<GrpcAction>("gRPC health check", "grpc.health.v1.Health/Check says SERVING.")
          .field("port", &GrpcAction::port, kPort, kDefaultPort)
          .field("service", &GrpcAction::service, "Service name of the request.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Probe>() {
  static const TableSchema schema =
      TableBuilder<Probe>("Probe", "Defaults are Kubernetes'. Probes never pass through the proxy.")
          .field("http", &Probe::http, "Ask over HTTP.")
          .field("tcp", &Probe::tcp, "Open a connection.")
          .field("exec", &Probe::exec, "Run a program.")
          .field("grpc", &Probe::grpc, "Ask the gRPC health service, in plain text.")
          .field("initial_delay", &Probe::initial_delay, "From the start to the first probe.")
          .field("period", &Probe::period, "Between probes.", {.min = 100})
          .field("timeout", &Probe::timeout, "After it a probe has failed.", {.min = 1})
          .field("success_threshold", &Probe::success_threshold,
                 "Successes in a row that make a success; 1 for startup and liveness.", {.min = 1})
          .field("failure_threshold", &Probe::failure_threshold,
                 "Failures in a row that make a failure.", {.min = 1})
          .field("termination_grace", &Probe::termination_grace,
                 "Grace of the kill that a failed startup or liveness probe causes.",
                 {.computed_default = "the service's stop_grace"})
          .exactly_one({"http", "tcp", "exec", "grpc"})
          .finish(check_probe)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Gate>() {
  static const TableSchema schema =
      TableBuilder<Gate>("Gate",
                         "What must happen before the child counts as *started*, so that the next "
                         "ones may start. Without a gate it is the startup probe, if there is one.")
          .field("notify", &Gate::notify, "`READY=1` on $NOTIFY_SOCKET, as with systemd.",
                 {.hide_default = true})
          .field("notification_fd", &Gate::notification_fd,
                 "A newline on this descriptor, as with s6.", {.min = 3, .max = 1023})
          .field("log_line", &Gate::log_line, "A line of output that matches.",
                 {.form = Form::Regex})
          .field("file", &Gate::file, "A file that comes to exist, as the child sees it.",
                 {.form = Form::AbsolutePath})
          .at_most_one({"notify", "notification_fd", "log_line", "file"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Hook>() {
  static const TableSchema schema =
      TableBuilder<Hook>("Hook",
                         "Hooks run at least once; after a crash of the supervisor perhaps twice.")
          .field("exec", &Hook::exec, "Run a program.")
          .field("http", &Hook::http, "Send a GET; not retried.")
          .field("sleep", &Hook::sleep, "Wait.")
          .field("timeout", &Hook::timeout,
                 "After it the hook has failed; a pre_stop hook never outlasts the stop.",
                 {.min = 1})
          .exactly_one({"exec", "http", "sleep"})
          .done();
  return schema;
}

}  // namespace pillion::config
