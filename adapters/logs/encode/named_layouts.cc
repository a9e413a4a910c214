// The table of layouts is longer than a function may be because it is data. Field names are those
// of the Elastic Common Schema where it has one.
#include "adapters/logs/encode/named_layouts.h"

#include <array>
#include <initializer_list>

namespace pillion::logs {
namespace {

// A layout that starts with '?' is not tried by `auto`.
struct Source {
  Format format;
  std::initializer_list<const char*> layouts;
};

const Source kSources[] = {
    // https://nginx.org/en/docs/ngx_core_module.html#error_log
    {Format::NginxError,
     {"%{time} [%{level}] %{process.pid:number}#%{process.thread.id:number}: "
      "%(*%{nginx.error.connection_id:number} %)%{message}"}},
    // https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat, and 2.2's before it
    {Format::ApacheError,
     {"[%{time}] [%{apache.error.module}:%{level}] [pid %{process.pid:number}%(:tid "
      "%{process.thread.id:number}%)] %([client %{source.address}] %)%{message}",
      "[%{time:ctime}] [%{level}] %([client %{source.address}] %)%{message}"}},
    // RFC 5424, 6
    {Format::Syslog5424,
     {"<%{priority}>1 %{time} %{host.hostname:word} %{process.name:word} %{process.pid:word} "
      "%{log.syslog.msgid:word} %{log.syslog.structured_data:sd} %(\xEF\xBB\xBF%)%{message}",
      "<%{priority}>1 - %{host.hostname:word} %{process.name:word} %{process.pid:word} "
      "%{log.syslog.msgid:word} %{log.syslog.structured_data:sd} %(\xEF\xBB\xBF%)%{message}"}},
    // https://docs.haproxy.org/2.6/configuration.html#8.2.3, with or without a syslog header
    {Format::Haproxy,
     {"%(<%{priority}>%)%(%{:time} %{host.hostname:word} "
      "%{process.name:tag}[%{process.pid:number}]: %)"
      "%{source.address}:%{source.port:number} [%{time}] %{haproxy.frontend_name:word} "
      "%{haproxy.backend_name}/%{haproxy.server_name:word} %{haproxy.timers:word} "
      "%{http.response.status_code:number} %{http.response.bytes:word} %{:word} %{:word} "
      "%{haproxy.termination_state:word} %{haproxy.connections:word} %{haproxy.queues:word} "
      "%({%{haproxy.http.request.captured_headers}} "
      "%)%({%{haproxy.http.response.captured_headers}} %)"
      "\"%{http.request.method:word} %{url.original:word} HTTP/%{http.version}\"",
      "%(<%{priority}>%)%(%{:time} %{host.hostname:word} "
      "%{process.name:tag}[%{process.pid:number}]: %)"
      "%{source.address}:%{source.port:number} [%{time}] %{haproxy.frontend_name:word} "
      "%{haproxy.backend_name}/%{haproxy.server_name:word} %{haproxy.timers:word} "
      "%{source.bytes:word} %{haproxy.termination_state:word} %{haproxy.connections:word} "
      "%{haproxy.queues:word}"}},
    // RFC 3164, 4.1, and what syslog daemons write to files
    {Format::Syslog3164,
     {"%(<%{priority}>%)%{time:syslog} %{host.hostname:word} "
      "%{process.name:tag}[%{process.pid:number}]: %{message}",
      "%(<%{priority}>%)%{time:syslog} %{host.hostname:word} %{process.name:tag}: %{message}",
      "%(<%{priority}>%)%{time:syslog} %{host.hostname:word} %{message}",
      "?%(<%{priority}>%)%{time} %{host.hostname:word} %{process.name:tag}[%{process.pid:number}]: "
      "%{message}",
      "?%(<%{priority}>%)%{time} %{host.hostname:word} %{process.name:tag}: %{message}"}},
    // https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
    {Format::Envoy,
     {"[%{time}] \"%{http.request.method:word} %{url.original:word} %{http.version}\" "
      "%{http.response.status_code:number} %{envoy.response_flags:word} "
      "%{http.request.body.bytes:number} %{http.response.body.bytes:number} "
      "%{envoy.duration_ms:number} %{envoy.upstream_service_time_ms:word} "
      "%{client.address:quoted} %{user_agent.original:quoted} %{http.request.id:quoted} "
      "%{url.domain:quoted} %{server.address:quoted}%( %{message:rest}%)",
      "[%{time}] \"%{http.request.method:word} %{url.original:word} %{http.version}\" "
      "%{http.response.status_code:number} %{envoy.response_flags:word} "
      "%{envoy.response_code_details:word} %{:word} %{:quoted} "
      "%{http.request.body.bytes:number} %{http.response.body.bytes:number} "
      "%{envoy.duration_ms:number} %{envoy.upstream_service_time_ms:word} "
      "%{client.address:quoted} %{user_agent.original:quoted} %{http.request.id:quoted} "
      "%{url.domain:quoted} %{server.address:quoted}%( %{message:rest}%)"}},
    // JEP 158: -Xlog:gc*
    {Format::JavaGc,
     {"[%{time}]%([%{jvm.uptime}]%)%([%{process.pid:number}]%)[%{level} ][%{jvm.tags}] %{message}",
      "[%{time}]%([%{jvm.uptime}]%)%([%{process.pid:number}]%)[%{level}][%{jvm.tags}] %{message}",
      "[%{jvm.uptime}s][%{level} ][%{jvm.tags}] %{message}",
      "[%{jvm.uptime}s][%{level}][%{jvm.tags}] %{message}"}},
    // https://redis.io/docs: "pid:role time level message"
    {Format::Redis,
     {"%{process.pid:number}:%{redis.log.role:word} %{time} %{level:redis} %{message}"}},
    // https://github.com/google/glog#log-line-prefix-format, klog alike
    {Format::Glog,
     {"%{level:letter}%{time:klog} %{process.thread.id:number} %{log.origin.file.name:tag}:"
      "%{log.origin.file.line:number}] %{message}"}},
    // log_line_prefix '%m [%p] ' (the default) and with user and database, as Debian sets it
    {Format::Postgresql,
     {"%{time} %(%{:zone} %)[%{process.pid:number}%(-%{:number}%)] "
      "%(%{user.name}@%{postgresql.log.database:word} %)%{level}:  %{message}"}},
    // https://dev.mysql.com/doc/refman/8.0/en/error-log-format.html; MariaDB writes no code
    {Format::Mysql,
     {"%{time} %{mysql.thread_id:number} [%{level}] %([%{error.code}] "
      "%)%([%{mysql.error.subsystem}] %)"
      "%{message}"}},
    // Spring Boot; Log4j 2 and Logback as they are commonly configured; Hadoop, Spark, ZooKeeper
    {Format::Log4j,
     {"%{time} %{level} %{process.pid:number} --- [%{service.name}] [%{process.thread.name}] "
      "%{log.logger:word} : %{message}",
      "%{time} %{level} %{process.pid:number} --- [%{process.thread.name}] %{log.logger:word} : "
      "%{message}",
      "%{time} - %{level} [%{process.thread.name}] - %{message}",
      "%{time} %(- %)%{level} [%{process.thread.name}] %{log.logger:logger}: %{message}",
      "%{time} %(- %)%{level} [%{process.thread.name}] %{log.logger:logger} - %{message}",
      "%{time} [%{process.thread.name}] %{level} %{log.logger:word} - %{message}",
      "%{time} [%{process.thread.name}] %{level} %{log.logger:logger}: %{message}",
      "%{time} %{process.pid:number} %{level} %{log.logger:logger}: %{message}",
      "%{time} %{level} %{log.logger:logger}: %{message}",
      "%{time} %{level} %{log.logger:logger} - %{message}",
      "?%{time} %{level} [%{process.thread.name}] %{log.logger:word} - %{message}",
      "?%{time} %{level} [%{process.thread.name}] %{log.logger:tag}: %{message}",
      "?%{time} [%{process.thread.name}] %{level} %{log.logger:tag}: %{message}",
      "?%{time} %{level} %{log.logger:tag}: %{message}",
      "?%{time} %{level} %{log.logger:word} - %{message}", "?%{time} %{level} %{message}"}},
    // logging.basicConfig, and the format that the library's tutorial uses
    {Format::Python,
     {"%{time} - %{log.logger:word} - %{level} - %{message}",
      "%{level}:%{log.logger:logger}:%{message}", "?%{level}:%{log.logger:tag}:%{message}",
      "?%{time} %{level} %{log.logger:tag}: %{message}",
      "?%{time} [%{level}] %{log.logger:tag}: %{message}",
      "?%{time} %(- %)%{level} %(- %)%{message}", "?%{level}: %{message}"}},
};

using Table = std::array<NamedLayouts, kFormatCount>;

Table compile_all() {
  Table table;
  for (const Source& source : kSources) {
    NamedLayouts& named = table[static_cast<std::size_t>(source.format)];
    for (const char* text : source.layouts) {
      const bool is_certain = *text != '?';
      auto layout = Layout::compile(is_certain ? text : text + 1);
      PILLION_ASSERT(layout.has_value());
      // Compiled again: a copy would lose the padding of the names (Layout::compile).
      if (is_certain) named.certain.push_back(*Layout::compile(text));
      named.all.push_back(std::move(*layout));
    }
  }
  return table;
}

}  // namespace

const NamedLayouts& named_layouts(Format format) {
  static const Table table = compile_all();
  return table[static_cast<std::size_t>(format)];
}

const std::vector<Format>& detectable_layouts() {
  static const std::vector<Format> formats = [] {
    std::vector<Format> result;
    for (const Source& source : kSources) result.push_back(source.format);
    return result;
  }();
  return formats;
}

}  // namespace pillion::logs
