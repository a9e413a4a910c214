// Schema of the egress ambassador's table.
#include "config/egress.h"
#include "config/table_builder.h"

namespace pillion::config {

constexpr Rules kRequiredPath{.required = true, .form = Form::AbsolutePath};

template<>
const TableSchema& schema_of<RateLimit>() {
  static const TableSchema schema =
      TableBuilder<RateLimit>("Rate limit", "Towards the API, shared by all of the app's calls.")
          .field("requests_per_second", &RateLimit::requests_per_second, "Steady rate.",
                 {.min = 0.001})
          .field("burst", &RateLimit::burst, "Requests at once.",
                 {.min = 1, .computed_default = "one second's worth"})
          .field("concurrency", &RateLimit::concurrency, "Requests in flight.", {.min = 1})
          .field("max_wait", &RateLimit::max_wait, "Longest wait for a turn; then 429.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<BasicAuth>() {
  static const TableSchema schema =
      TableBuilder<BasicAuth>("Basic authentication", "")
          .field("user_file", &BasicAuth::user_file, "File with the user.", kRequiredPath)
          .field("password_file", &BasicAuth::password_file, "File with the password.",
                 kRequiredPath)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<HeaderAuth>() {
  static const TableSchema schema =
      TableBuilder<HeaderAuth>("Header authentication", "")
          .field("name", &HeaderAuth::name, "Header.", {.required = true, .non_empty = true})
          .field("value_file", &HeaderAuth::value_file, "File with its value.", kRequiredPath)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<EgressAuth>() {
  static const TableSchema schema =
      TableBuilder<EgressAuth>("Egress authentication",
                               "Added to requests; files are read again when they change.")
          .field("basic", &EgressAuth::basic, "Basic authentication.")
          .field("bearer_file", &EgressAuth::bearer_file, "File with a bearer token.",
                 {.form = Form::AbsolutePath})
          .field("header", &EgressAuth::header, "A header.")
          .at_most_one({"basic", "bearer_file", "header"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Region>() {
  static const TableSchema schema =
      TableBuilder<Region>("Region", "One base URL of the API.")
          .field("name", &Region::name, "Shows in logs and metrics.",
                 {.required = true, .form = Form::Name})
          .field("url", &Region::url, "Base URL.", {.required = true, .form = Form::HttpUrl})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<EgressConfig>() {
  static const TableSchema schema =
      TableBuilder<EgressConfig>("Egress", "The table of a child with `use = \"egress\"`.")
          .field("service", &EgressConfig::service, "Filled in by the supervisor.")
          .field("listen", &EgressConfig::listen, "Where the app calls it.", {.required = true})
          .field("region", &EgressConfig::regions, "Base URLs, tried in file order.",
                 {.required = true, .non_empty = true})
          .field("rate_limit", &EgressConfig::rate_limit, "Rate limit.")
          .field("auth", &EgressConfig::auth, "Authentication.")
          .field("retry", &EgressConfig::retry, "Retries.")
          .field("timeouts", &EgressConfig::timeouts, "Timeouts.")
          .field("ca_file", &EgressConfig::ca_file, "Trusted certificates, PEM.",
                 {.form = Form::AbsolutePath, .computed_default = "the system's"})
          .field("access_log", &EgressConfig::access_log, "Access log.")
          .field("admin", &EgressConfig::admin, "Admin.")
          .done();
  return schema;
}

}  // namespace pillion::config
