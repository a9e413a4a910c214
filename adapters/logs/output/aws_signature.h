// Signature version 4 of Amazon Web Services, for requests with their whole body at hand.
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/http_client.h"

namespace pillion::logs {

struct AwsCredentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // of temporary keys; may be empty
};

// Adds x-amz-date, x-amz-content-sha256, x-amz-security-token and Authorization. The URL's path is
// encoded already, and it has no query.
void sign_aws_request(HttpClient::Request& request, const AwsCredentials& credentials,
                      std::string_view region, std::string_view service, std::int64_t wall_ns);

}  // namespace pillion::logs
