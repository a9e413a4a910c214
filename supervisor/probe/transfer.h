// One HTTP transfer by libcurl, with bounds: the only file that knows it is transfer.cc.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace pillion::supervisor::probe {

struct TransferRequest {
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  bool is_grpc = false;  // HTTP/2 without negotiation, POST; else HTTP/1.1, GET
  std::chrono::milliseconds timeout{1000};
};

struct Transfer {
  std::string error;  // not empty: there was no answer
  long status = 0;
  std::string redirect_url;                    // absolute; empty = none
  std::map<std::string, std::string> headers;  // lower case; trailers are among them
  std::string body;                            // the first 10 KiB
};

Transfer transfer(const TransferRequest& request);

// The host name of a url, lower case; empty when it is none.
std::string host_of(const std::string& url);

}  // namespace pillion::supervisor::probe
