// The order processor of a classic three-helper pod: the file that the design is explained with.
#pragma once

namespace pillion::config {

inline constexpr const char* kOrderProcessor = R"toml(
[service]
name = "order-processor"
stop_grace = "30s"                 # one budget for the whole stop, as terminationGracePeriodSeconds
drain_delay = "5s"                 # not ready, yet serving: the load balancer's time to notice
sidecar_reserve = "5s"             # tail of the grace that the app cannot eat

[network]
mode = "bridged"                   # bridged | sealed | host | join
publish = ["8080"]                 # host port → the proxy's inbound listener → the app's port
[network.intercept]
inbound = true                     # app ports → 15006
outbound = true                    # the app's other traffic → 15001
exclude_outbound_cidrs = ["169.254.169.254/32"]

[volume.logs]
path = "/var/log/app"
[volume.secrets]
path = "/run/secrets"
tmpfs = "1MiB"

[app]
command = ["/opt/orders/order-processor"]
user = "orders"
ports = [{ name = "http", port = 8080, protocol = "http" }]
env = { DB_PASSWORD_FILE = "/run/secrets/db-password", LOG_FILE_PATH = "/var/log/app/orders.log" }
mounts = ["logs", "secrets:ro"]
requests = { cpu = "500m", memory = "256MiB" }      # cpu.weight, memory.low; used by export and recommend
limits = { cpu = "2", memory = "512MiB", pids = 256 }
startup_probe = { http = { path = "/healthz" }, period = "1s", failure_threshold = 30 }
readiness_probe = { http = { path = "/healthz" }, period = "10s" }
pre_stop = { sleep = "2s" }

[adapter.logs]
use = "logs"
mounts = ["logs:ro"]
limits = { cpu = "200m", memory = "64MiB" }
[[adapter.logs.config.input]]
file = "/var/log/app/orders.log"
format = "auto"
[[adapter.logs.config.output]]
elasticsearch = { url = "https://elastic.internal:9200", index = "orders" }

[ambassador.vault]
use = "secrets"
mounts = ["secrets"]
limits = { cpu = "200m", memory = "128MiB" }
[ambassador.vault.config.vault]
address = "https://vault.internal.mycompany.com:8200"
[ambassador.vault.config.vault.auth.approle]
role_id_file = "/etc/pillion/orders.role-id"
secret_id_file = "/etc/pillion/orders.secret-id"
[[ambassador.vault.config.file]]
path = "/run/secrets/db-password"
secret = "secret/data/orders"
field = "db_password"
owner = "orders"

[ambassador.twilio]
use = "egress"
[ambassador.twilio.config]
listen = "127.0.0.1:5000"
rate_limit = { requests_per_second = 100, concurrency = 50 }
auth = { basic = { user_file = "/run/secrets/twilio-sid", password_file = "/run/secrets/twilio-token" } }
[[ambassador.twilio.config.region]]
name = "us1"
url = "https://api.twilio.com"

[sidecar.proxy]
use = "proxy"                      # runs as pillion-proxy, uid 1337
limits = { cpu = "1", memory = "256MiB" }
[sidecar.proxy.config]
explicit = [{ listen = "127.0.0.1:7000", upstream = "user-service" }]
identity = { certificate_file = "/run/secrets/tls.crt", key_file = "/run/secrets/tls.key", trust_bundle_file = "/run/secrets/ca.crt" }
[sidecar.proxy.config.upstream.user-service]
address = ["users.internal:8443"]  # `hosts` (default: the name) is what the app calls it
tls = { spiffe_id = "spiffe://prod/users" }
retry = { attempts = 2, on = ["connect-failure", "refused-stream"] }
)toml";

}  // namespace pillion::config
