#include "runtime/http_client.h"

#include <curl/curl.h>
#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <unordered_map>

namespace pillion {
namespace {

constexpr std::size_t kResponseHeaderBytesMax = 256u << 10;
constexpr long kCaCacheSeconds = 60;

void require_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  PILLION_ASSERT(code == CURLE_OK);
}

// What an error may show of a URL: no query (it may carry a credential), no user information.
std::string printable_url(const std::string& url) {
  std::string shown = url.substr(0, url.find_first_of("?#"));
  const auto scheme_end = shown.find("://");
  if (scheme_end == std::string::npos) return shown;
  const auto host_start = scheme_end + 3;
  const auto path_start = shown.find('/', host_start);
  const auto at = shown.rfind('@', path_start);
  if (at != std::string::npos && at >= host_start) shown.erase(host_start, at + 1 - host_start);
  return shown;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// Header lists carry credentials, so what we copied for curl is wiped before it is freed.
struct FreeHeaderList {
  void operator()(curl_slist* list) const {
    for (curl_slist* node = list; node; node = node->next) {
      ::explicit_bzero(node->data, std::strlen(node->data));
    }
    curl_slist_free_all(list);
  }
};
struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};

using HeaderList = std::unique_ptr<curl_slist, FreeHeaderList>;
using Easy = std::unique_ptr<CURL, FreeEasy>;

void append(HeaderList& list, const std::string& line) {
  curl_slist* grown = curl_slist_append(list.get(), line.c_str());
  PILLION_ASSERT(grown != nullptr);
  static_cast<void>(list.release());
  list.reset(grown);
}

int errno_of(CURLcode code, long os_errno) {
  switch (code) {
    case CURLE_COULDNT_CONNECT: return os_errno != 0 ? static_cast<int>(os_errno) : ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT: return ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST: return EHOSTUNREACH;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR: return ECONNRESET;
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE: return EINVAL;
    default: return EPROTO;
  }
}

bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_letter && !is_digit && !std::strchr("!#$%&'*+-.^_`|~", c)) return false;
  }
  return true;
}

// A line break in a header, a method or a URL would let one request smuggle another.
std::optional<std::string> find_unusable(const HttpClient::Request& request) {
  if (!is_token(request.method)) return "invalid method";
  if (request.url.rfind("http://", 0) != 0 && request.url.rfind("https://", 0) != 0) {
    return "the URL must begin with http:// or https://";
  }
  for (const char c : request.url) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return "invalid character in the URL";
  }
  for (const auto& header : request.headers) {
    if (!is_token(header.name)) return "invalid header name";
    if (header.value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return "line break in the value of header " + header.name;
    }
  }
  return std::nullopt;
}

}  // namespace

const std::string* HttpClient::Response::find_header(std::string_view name) const {
  for (const auto& header : headers) {
    if (equals_ignoring_case(header.name, name)) return &header.value;
  }
  return nullptr;
}

// One exchange, owned by the client's Core until it was answered or cancelled.
struct HttpClient::Exchange::Transfer : std::enable_shared_from_this<Transfer> {
  std::weak_ptr<Core> core;
  Request request;
  Response response;
  OnDone on_done;
  Easy easy;
  HeaderList header_list;
  HeaderList connect_to;
  std::size_t header_bytes = 0;
  bool is_cancelled = false;
  bool is_too_large = false;
  bool is_aborted = false;
  char error_text[CURL_ERROR_SIZE] = {};

  ~Transfer() {
    easy.reset();  // before the lists that it points at
    ::explicit_bzero(request.body.data(), request.body.size());
    for (auto& header : request.headers) {
      ::explicit_bzero(header.value.data(), header.value.size());
    }
  }

  void set_up();
  void set_tls();
  void set_method_and_body();
  void set_headers();
  Error make_error(CURLcode code) const;
  std::size_t take_header(std::string_view line);
  std::size_t take_body(std::string_view piece);
};

struct HttpClient::Core : std::enable_shared_from_this<Core> {
  using Transfer = Exchange::Transfer;

  Core(Loop& loop_, Options options_) : loop(loop_), options(std::move(options_)), timer(loop_) {}

  Loop& loop;
  Options options;
  Timer timer;
  CURLM* multi = nullptr;
  std::map<curl_socket_t, Poll> polls;
  std::unordered_map<CURL*, std::shared_ptr<Transfer>> transfers;
  int calls_into_curl = 0;  // > 0: inside libcurl, where handles may not be removed
  bool has_removals = false;
  bool is_shut = false;

  void open();
  void shut();
  void act(curl_socket_t socket, int events);
  void collect();
  void finish(const std::shared_ptr<Transfer>& transfer, CURLcode code);
  void remove(Transfer& transfer);
  void remove_cancelled();
  void watch(curl_socket_t socket, int what);
};

// ---- curl's callbacks ---------------------------------------------------------------------------
namespace {

template<class Transfer>
std::size_t on_curl_header(char* data, std::size_t size, std::size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->take_header({data, size * count});
}

template<class Transfer>
std::size_t on_curl_body(char* data, std::size_t size, std::size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->take_body({data, size * count});
}

template<class Core>
int on_curl_socket(CURL*, curl_socket_t socket, int what, void* core, void*) {
  static_cast<Core*>(core)->watch(socket, what);
  return 0;
}

template<class Core>
int on_curl_timer(CURLM*, long timeout_ms, void* core_pointer) {
  auto* core = static_cast<Core*>(core_pointer);
  if (timeout_ms < 0) {
    core->timer.stop();
  } else {
    core->timer.start(std::chrono::milliseconds(timeout_ms),
                      [core] { core->act(CURL_SOCKET_TIMEOUT, 0); });
  }
  return 0;
}

}  // namespace

// ---- Transfer -----------------------------------------------------------------------------------

void HttpClient::Exchange::Transfer::set_up() {
  CURL* handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_PRIVATE, this);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error_text);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_HTTP09_ALLOWED, 0L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");  // not even the one of the environment
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, request.redirects_max > 0 ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, static_cast<long>(request.redirects_max));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.total_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  if (!request.unix_socket_path.empty()) {
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket_path.c_str());
  }
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &on_curl_header<Transfer>);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &on_curl_body<Transfer>);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, this);
  set_tls();
  set_method_and_body();
  set_headers();
}

void HttpClient::Exchange::Transfer::set_tls() {
  CURL* handle = easy.get();
  const Tls& tls = request.tls;
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(handle, CURLOPT_CA_CACHE_TIMEOUT, kCaCacheSeconds);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, tls.is_peer_verified ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, tls.is_peer_verified ? 2L : 0L);
  if (!tls.ca_file.empty()) {
    curl_easy_setopt(handle, CURLOPT_CAINFO, tls.ca_file.c_str());
    // A private CA replaces the system's trust store, it does not add to it.
    if (tls.ca_directory.empty()) curl_easy_setopt(handle, CURLOPT_CAPATH, nullptr);
  }
  if (!tls.ca_directory.empty()) {
    curl_easy_setopt(handle, CURLOPT_CAPATH, tls.ca_directory.c_str());
    if (tls.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, nullptr);
  }
  if (!tls.certificate_file.empty()) {
    curl_easy_setopt(handle, CURLOPT_SSLCERT, tls.certificate_file.c_str());
  }
  if (!tls.key_file.empty()) curl_easy_setopt(handle, CURLOPT_SSLKEY, tls.key_file.c_str());
  if (tls.server_name.empty()) return;

  // curl verifies the URL's host: so the URL gets the wanted name, and the connection goes to the
  // host that was in the URL.
  CURLU* url = curl_url();
  char* host = nullptr;
  char* port = nullptr;
  char* renamed = nullptr;
  if (curl_url_set(url, CURLUPART_URL, request.url.c_str(), 0) == CURLUE_OK &&
      curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
      curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_HOST, tls.server_name.c_str(), 0) == CURLUE_OK &&
      curl_url_get(url, CURLUPART_URL, &renamed, 0) == CURLUE_OK) {
    append(connect_to, std::string("::") + host + ":" + port);
    curl_easy_setopt(handle, CURLOPT_CONNECT_TO, connect_to.get());
    curl_easy_setopt(handle, CURLOPT_URL, renamed);
  }
  curl_free(host);
  curl_free(port);
  curl_free(renamed);
  curl_url_cleanup(url);
}

void HttpClient::Exchange::Transfer::set_method_and_body() {
  CURL* handle = easy.get();
  const bool has_body =
      !request.body.empty() || request.method == "POST" || request.method == "PUT";
  if (has_body) {
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
  } else if (request.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  } else {
    curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  }
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

void HttpClient::Exchange::Transfer::set_headers() {
  bool has_content_type = false;
  bool has_user_agent = false;
  for (const auto& header : request.headers) {
    if (equals_ignoring_case(header.name, "Content-Type")) has_content_type = true;
    if (equals_ignoring_case(header.name, "User-Agent")) has_user_agent = true;
    // "Name;" is curl's spelling of a header with an empty value; "Name:" would remove it.
    append(header_list,
           header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  append(header_list, "Expect:");  // no round trip before a large body
  if (!has_content_type) append(header_list, "Content-Type:");
  if (!has_user_agent) {
    if (auto owner = core.lock()) {
      curl_easy_setopt(easy.get(), CURLOPT_USERAGENT, owner->options.user_agent.c_str());
    }
  }
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, header_list.get());
}

std::size_t HttpClient::Exchange::Transfer::take_header(std::string_view line) {
  if (is_cancelled) return 0;
  header_bytes += line.size();
  if (header_bytes > kResponseHeaderBytesMax) {
    is_too_large = true;
    return 0;
  }
  if (line.substr(0, 5) == "HTTP/") {  // the first line of an interim or of the final response
    response.headers.clear();
    return line.size();
  }
  const auto colon = line.find(':');
  if (colon != std::string_view::npos) {
    response.headers.push_back({std::string(trimmed(line.substr(0, colon))),
                                std::string(trimmed(line.substr(colon + 1)))});
  }
  return line.size();
}

std::size_t HttpClient::Exchange::Transfer::take_body(std::string_view piece) {
  if (is_cancelled) return 0;
  if (request.on_body) {
    const auto keep_alive = shared_from_this();  // on_body may destroy the Exchange
    if (!request.on_body(piece)) {
      is_aborted = true;
      return 0;
    }
    return is_cancelled ? 0 : piece.size();
  }
  if (response.body.size() + piece.size() > request.response_bytes_max) {
    is_too_large = true;
    return 0;
  }
  response.body.append(piece);
  return piece.size();
}

Error HttpClient::Exchange::Transfer::make_error(CURLcode code) const {
  const std::string what = "cannot " + request.method + " " + printable_url(request.url) + ": ";
  if (is_too_large) {
    return Error(what + "the response is larger than " +
                     std::to_string(request.response_bytes_max) + " bytes",
                 EMSGSIZE);
  }
  if (is_aborted) return Error(what + "aborted", ECANCELED);
  long os_errno = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_OS_ERRNO, &os_errno);
  const int error = errno_of(code, os_errno);
  if (code == CURLE_COULDNT_CONNECT) {
    return Error::from_errno(what.substr(0, what.size() - 2), error);
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    // Unlike the time to connect, this one is set on a connection that is used again.
    curl_off_t pretransfer_time = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_PRETRANSFER_TIME_T, &pretransfer_time);
    const bool is_connected = pretransfer_time > 0;
    const auto waited = is_connected ? request.total_timeout
                                     : std::min(request.connect_timeout, request.total_timeout);
    return Error(what + (is_connected ? "no complete response" : "no connection") + " within " +
                     std::to_string(waited.count()) + " ms",
                 error);
  }
  return Error(what + (error_text[0] != '\0' ? error_text : curl_easy_strerror(code)), error);
}

// ---- Core ---------------------------------------------------------------------------------------

void HttpClient::Core::open() {
  require_curl();
  multi = curl_multi_init();
  PILLION_ASSERT(multi != nullptr);
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &on_curl_socket<Core>);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &on_curl_timer<Core>);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                    static_cast<long>(options.connections_per_host_max));
  curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                    static_cast<long>(options.connections_max));
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(options.connections_max));
}

void HttpClient::Core::shut() {
  is_shut = true;
  for (auto& [easy, transfer] : transfers) {
    transfer->is_cancelled = true;
    transfer->on_done = nullptr;
    transfer->request.on_body = nullptr;
  }
  ++calls_into_curl;
  for (auto& [easy, transfer] : transfers) curl_multi_remove_handle(multi, easy);
  transfers.clear();
  curl_multi_cleanup(multi);
  multi = nullptr;
  timer.stop();
  polls.clear();
}

void HttpClient::Core::watch(curl_socket_t socket, int what) {
  if (what == CURL_POLL_REMOVE) {
    polls.erase(socket);
    return;
  }
  int events = 0;
  if (what & CURL_POLL_IN) events |= kReadable;
  if (what & CURL_POLL_OUT) events |= kWritable;
  const auto found = polls.find(socket);
  if (found != polls.end()) {
    found->second.set_events(events);
    return;
  }
  auto& poll = polls.emplace(socket, Poll(loop, socket)).first->second;
  poll.start(events, [this, socket](int ready, int error) {
    int flags = 0;
    if (ready & kReadable) flags |= CURL_CSELECT_IN;
    if (ready & kWritable) flags |= CURL_CSELECT_OUT;
    if (error != 0) flags |= CURL_CSELECT_ERR;
    act(socket, flags);
  });
}

void HttpClient::Core::act(curl_socket_t socket, int events) {
  int running = 0;
  ++calls_into_curl;
  curl_multi_socket_action(multi, socket, events, &running);
  --calls_into_curl;
  collect();
  remove_cancelled();
}

// Answers are delivered by the loop's deferred tasks, outside of libcurl, where a callback may
// destroy whatever it likes.
void HttpClient::Core::collect() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;  // `message` dies with the removal
    const auto found = transfers.find(message->easy_handle);
    if (found == transfers.end()) continue;
    const auto transfer = found->second;
    remove(*transfer);
    if (!transfer->is_cancelled) finish(transfer, code);
  }
}

void HttpClient::Core::remove(Transfer& transfer) {
  ++calls_into_curl;
  curl_multi_remove_handle(multi, transfer.easy.get());
  --calls_into_curl;
}

void HttpClient::Core::finish(const std::shared_ptr<Transfer>& transfer, CURLcode code) {
  // The transfer stays in the table until delivered, so that its Exchange can still cancel it.
  loop.defer([self = shared_from_this(), transfer, code] {
    self->transfers.erase(transfer->easy.get());
    if (transfer->is_cancelled || self->is_shut) return;
    long status = 0;
    curl_off_t microseconds = 0;
    curl_easy_getinfo(transfer->easy.get(), CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(transfer->easy.get(), CURLINFO_TOTAL_TIME_T, &microseconds);
    const OnDone on_done = std::move(transfer->on_done);
    if (code != CURLE_OK) return on_done(fail(transfer->make_error(code)));
    transfer->response.status = static_cast<int>(status);
    transfer->response.total_time = std::chrono::microseconds(microseconds);
    on_done(std::move(transfer->response));
  });
}

void HttpClient::Core::remove_cancelled() {
  if (!has_removals || calls_into_curl > 0) return;
  has_removals = false;
  for (auto entry = transfers.begin(); entry != transfers.end();) {
    if (!entry->second->is_cancelled) {
      ++entry;
      continue;
    }
    remove(*entry->second);
    entry = transfers.erase(entry);
  }
}

// ---- HttpClient, Exchange -----------------------------------------------------------------------

HttpClient::HttpClient(Loop& loop, Options options)
    : core_(std::make_shared<Core>(loop, std::move(options))) {
  core_->open();
}

HttpClient::~HttpClient() {
  // From inside an on_body callback libcurl is on the stack: that is our caller's mistake.
  PILLION_ASSERT(core_->calls_into_curl == 0);
  core_->shut();
}

HttpClient::Exchange HttpClient::send(Request request, OnDone on_done) {
  auto transfer = std::make_shared<Exchange::Transfer>();
  Exchange exchange;
  exchange.transfer_ = transfer;
  transfer->core = core_;
  transfer->request = std::move(request);
  transfer->on_done = std::move(on_done);
  transfer->easy.reset(curl_easy_init());
  PILLION_ASSERT(transfer->easy != nullptr);
  core_->transfers.emplace(transfer->easy.get(), transfer);

  if (auto problem = find_unusable(transfer->request)) {
    Error error("cannot send a request: " + *problem, EINVAL);
    core_->loop.defer([core = core_, transfer, error] {
      core->transfers.erase(transfer->easy.get());
      if (transfer->is_cancelled || core->is_shut) return;
      const OnDone deliver = std::move(transfer->on_done);
      deliver(fail(error));
    });
    return exchange;
  }
  transfer->set_up();
  // Starts nothing yet: curl asks for a timer, and the work begins from the loop.
  const CURLMcode added = curl_multi_add_handle(core_->multi, transfer->easy.get());
  if (added != CURLM_OK) core_->finish(transfer, CURLE_FAILED_INIT);
  return exchange;
}

std::size_t HttpClient::in_flight() const { return core_->transfers.size(); }

HttpClient::Exchange& HttpClient::Exchange::operator=(Exchange&& other) noexcept {
  if (this == &other) return *this;
  cancel();
  transfer_ = std::move(other.transfer_);
  return *this;
}

void HttpClient::Exchange::cancel() {
  const auto transfer = transfer_.lock();
  transfer_.reset();
  if (!transfer || transfer->is_cancelled) return;
  transfer->is_cancelled = true;
  const auto core = transfer->core.lock();
  if (!core || core->is_shut) return;
  if (core->calls_into_curl == 0) {
    // Also right for one that is done and waits to be delivered: removing twice is harmless.
    core->remove(*transfer);
    core->transfers.erase(transfer->easy.get());
  } else {
    core->has_removals = true;
  }
}

}  // namespace pillion
