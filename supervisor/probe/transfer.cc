#include "supervisor/probe/transfer.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>

namespace pillion::supervisor::probe {
namespace {

constexpr std::size_t kBodyBytesMax = 10 * 1024;
constexpr std::size_t kHeadersMax = 200;
constexpr int kResetsMax = 20;

struct Receiver {
  Transfer result;
  bool is_enough = false;
};

// Returning less than given ends the transfer.
std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
  auto& receiver = *static_cast<Receiver*>(user);
  const std::size_t room = kBodyBytesMax - receiver.result.body.size();
  receiver.result.body.append(data, std::min(size, room));
  receiver.is_enough = size > room;
  return receiver.is_enough ? 0 : size;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
  auto& headers = static_cast<Receiver*>(user)->result.headers;
  const std::string line(data, size);
  const auto colon = line.find(':');
  if (colon != std::string::npos && headers.size() < kHeadersMax) {
    headers[lower(trim(line.substr(0, colon)))] = trim(line.substr(colon + 1));
  }
  return size;
}

void set_method(CURL* handle, const TransferRequest& request) {
  if (!request.is_grpc) {
    ::curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    return;
  }
  ::curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
  ::curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
  ::curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
}

// Straight to the address, to nobody else, and without anything from the environment.
void set_bounds(CURL* handle, const TransferRequest& request) {
  ::curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(handle, CURLOPT_PROXY, "");
  ::curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  ::curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
  ::curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
  ::curl_easy_setopt(handle, CURLOPT_USERAGENT, "pillion-probe");
  ::curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
}

struct Attempt {
  Transfer result;
  bool is_reset = false;  // by an HTTP/2 server, and no word of it was left
};

Attempt attempt(const TransferRequest& request) {
  const std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)> handle(::curl_easy_init(),
                                                                     &::curl_easy_cleanup);
  Receiver receiver;
  if (!handle) {
    receiver.result.error = "libcurl cannot start";
    return {receiver.result, false};
  }
  curl_slist* list = nullptr;
  for (const std::string& header : request.headers) {
    list = ::curl_slist_append(list, header.c_str());
  }
  const std::unique_ptr<curl_slist, decltype(&::curl_slist_free_all)> headers(
      list, &::curl_slist_free_all);
  char message[CURL_ERROR_SIZE] = "";
  set_bounds(handle.get(), request);
  set_method(handle.get(), request);
  ::curl_easy_setopt(handle.get(), CURLOPT_URL, request.url.c_str());
  ::curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
  ::curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, &on_body);
  ::curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &receiver);
  ::curl_easy_setopt(handle.get(), CURLOPT_HEADERFUNCTION, &on_header);
  ::curl_easy_setopt(handle.get(), CURLOPT_HEADERDATA, &receiver);
  ::curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, message);
  const CURLcode code = ::curl_easy_perform(handle.get());
  // A server that refuses a call says so and then resets the stream: its word is the answer.
  const bool has_grpc_status = receiver.result.headers.count("grpc-status") > 0;
  if (code != CURLE_OK && !receiver.is_enough && !has_grpc_status) {
    receiver.result.error = message[0] != '\0' ? message : ::curl_easy_strerror(code);
  }
  ::curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &receiver.result.status);
  char* redirect = nullptr;
  ::curl_easy_getinfo(handle.get(), CURLINFO_REDIRECT_URL, &redirect);
  if (redirect != nullptr) receiver.result.redirect_url = redirect;
  return {receiver.result, code == CURLE_HTTP2_STREAM && !has_grpc_status};
}

}  // namespace

// When a refusal and the reset behind it arrive together, libcurl throws the refusal away. Whether
// they do is chance, so it is asked again.
Transfer transfer(const TransferRequest& request) {
  const auto deadline = std::chrono::steady_clock::now() + request.timeout;
  Attempt last = attempt(request);
  for (int again = 0; last.is_reset && again < kResetsMax; ++again) {
    TransferRequest next = request;
    next.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (next.timeout <= std::chrono::milliseconds::zero()) break;
    last = attempt(next);
  }
  return last.result;
}

std::string host_of(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)> parsed(::curl_url(),
                                                                     &::curl_url_cleanup);
  char* host = nullptr;
  if (!parsed || ::curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      ::curl_url_get(parsed.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    return {};
  }
  const std::unique_ptr<char, decltype(&::curl_free)> owned(host, &::curl_free);
  return lower(host);
}

}  // namespace pillion::supervisor::probe
