// The local Vault address (127.0.0.1:8200): the app's own requests, sent on to Vault with our token
// and within our limits. The app never sees the token; whatever X-Vault-Token it sends is replaced.
//
// Requests and responses are held whole, at most 32 MiB each. Identical GETs that are in flight at
// the same time are one request to Vault. When Vault cannot be had the answer is 502, 503 or 504
// with the reason in Vault's own error format. Nothing of a request is logged but method, path and
// status.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ambassadors/secrets/issued_values.h"
#include "ambassadors/secrets/vault_source.h"
#include "config/secrets.h"
#include "runtime/http_server.h"
#include "runtime/metrics.h"

namespace pillion::secrets {

inline constexpr std::size_t kProxyBodyBytesMax = 32u << 20;

// Whether the path, percent-encoded or not, is the one that would end our own token
// (auth/token/revoke-self, in any namespace), or is ambiguous: dot segments, encoded slashes,
// control characters.
bool is_path_refused(const std::string& path);

// The headers to send on: end-to-end only, without Host, Content-Length and X-Vault-Token.
HttpClient::Headers forwarded_headers(const HttpHeaders& headers);

class VaultProxy {
 public:
  // `registry` and `issued` must outlive it.
  VaultProxy(const config::VaultProxy& config, Registry& registry, IssuedValues& issued);

  // Where requests go from now on; null while there is no Vault. Requests in flight are answered
  // with 503. Must be called with null before the source dies.
  void set_source(VaultSource* source);
  void set_config(const config::VaultProxy& config) { config_ = config; }

  void handle(const HttpServerRequest& request, HttpResponder respond);

 private:
  struct Exchange {
    VaultApi::Call call;
    std::string path;
    std::vector<HttpResponder> responders;
  };

  void forward(const HttpServerRequest& request, HttpResponder respond);
  void on_done(std::uint64_t number, const SecretText& token, Result<HttpClient::Response> result);
  void answer(Exchange& exchange, const HttpServerResponse& response);
  void refuse(const HttpResponder& respond, int status, const std::string& why);
  void count(int status);

  config::VaultProxy config_;
  Registry& registry_;
  IssuedValues& issued_;
  VaultSource* source_ = nullptr;
  std::uint64_t next_number_ = 0;
  std::map<std::uint64_t, Exchange> exchanges_;
  std::map<std::string, std::uint64_t> shared_;  // what is asked → the exchange that will tell
  int last_failure_ = 0;  // errno of the last request that had no answer; 0 after one that had
  Counter& coalesced_;
};

}  // namespace pillion::secrets
