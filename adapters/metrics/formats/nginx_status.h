// The page of nginx' stub_status (https://nginx.org/en/docs/http/ngx_http_stub_status_module.html).
#pragma once

#include <string_view>

#include "adapters/metrics/model/family.h"
#include "runtime/result.h"

namespace pillion::metrics {

Result<Families> parse_nginx_status(std::string_view text);

}  // namespace pillion::metrics
