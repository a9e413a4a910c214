"""pillion-proxy and its peers, configured for the same work: what each is told for a row of the table.

A row has a front (what the load speaks) and a back (what the backend speaks):
  front  http1, tls (HTTP/1.1 over TLS 1.3), mtls (with client certificate), h2 (over TLS), h2c, tcp
  back   http1, h2c, tcp, mtls (HTTP/1.1, towards the second of two hops)
"""
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS_MAX = 10
TLS_FRONTS = ("tls", "mtls", "h2")
NGINX_LOG = ("log_format access escape=json '{\"timestamp\":\"$time_iso8601\",\"method\":\"$request_method\",\"path\":\"$request_uri\","
             "\"authority\":\"$host\",\"status\":$status,\"protocol\":\"$server_protocol\",\"bytes_sent\":$body_bytes_sent,"
             "\"duration\":$request_time,\"upstream_duration\":\"$upstream_response_time\",\"upstream\":\"$upstream_addr\","
             "\"downstream\":\"$remote_addr:$remote_port\",\"request_id\":\"$request_id\"}';")
HAPROXY_LOG = ("{\\\"timestamp\\\":\\\"%t\\\",\\\"method\\\":\\\"%HM\\\",\\\"path\\\":\\\"%HU\\\",\\\"status\\\":%ST,\\\"protocol\\\":\\\"%HV\\\","
               "\\\"bytes_sent\\\":%B,\\\"duration_ms\\\":%Ta,\\\"upstream_ms\\\":%Tr,\\\"upstream\\\":\\\"%si:%sp\\\","
               "\\\"downstream\\\":\\\"%ci:%cp\\\",\\\"request_id\\\":\\\"%ID\\\",\\\"flags\\\":\\\"%tsc\\\"}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    """A running proxy (or the backend): its process, its port, and what it used."""

    def __init__(self, name, command, port, cpus, output=subprocess.DEVNULL):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{name} did not start:\n{self.stop()}") from None
                time.sleep(0.05)

    def cpu_seconds(self):
        # schedstat counts nanoseconds, /proc/PID/stat only ticks; all threads count.
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def proportional_mib(self):
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024

    def stop(self):
        self.process.terminate()
        try:
            return self.process.communicate(timeout=10)[1].decode(errors="replace")[-2000:]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[1].decode(errors="replace")[-2000:]


class Pair:
    """Two hops as one: the load's side has the port, both are counted."""

    def __init__(self, near, far):
        self.near, self.far, self.name, self.port = near, far, near.name, near.port

    def cpu_seconds(self):
        return self.near.cpu_seconds() + self.far.cpu_seconds()

    def proportional_mib(self):
        return self.near.proportional_mib() + self.far.proportional_mib()

    def stop(self):
        self.near.stop()
        self.far.stop()


class Certificates:
    """One authority, one ECDSA certificate for everybody: `certificate`, `key`, `both` (in one file), `authority`."""

    def __init__(self, directory):
        self.authority, self.certificate, self.key, self.both = (directory / name for name in ("ca.crt", "tls.crt", "tls.key", "both.pem"))
        extensions = directory / "extensions"
        extensions.write_text("subjectAltName=DNS:bench.test,URI:spiffe://bench/one\nextendedKeyUsage=serverAuth,clientAuth\n")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for command in (["req", "-x509", *new, "-keyout", directory / "ca.key", "-out", self.authority, "-days", "30", "-subj", "/CN=bench"],
                        ["req", *new, "-keyout", self.key, "-out", directory / "csr", "-subj", "/CN=bench.test"],
                        ["x509", "-req", "-in", directory / "csr", "-CA", self.authority, "-CAkey", directory / "ca.key", "-days", "30",
                         "-set_serial", "1", "-extfile", extensions, "-out", self.certificate]):
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
        self.both.write_text(self.certificate.read_text() + self.key.read_text())


class Bench:
    """Where a run keeps its files, and who runs where."""

    def __init__(self, directory, binaries, proxy_cpus, load_cpus):
        self.directory, self.binaries, self.proxy_cpus, self.load_cpus = directory, binaries, proxy_cpus, load_cpus
        self.certificates = Certificates(directory)


def write_nginx(place, http, stream=""):
    place.mkdir(exist_ok=True)
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    text = f"load_module {module};\n" if stream and os.path.exists(module) else ""
    text += f"""
daemon off; master_process off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 9000; }}
"""
    if http:
        text += f"""http {{
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s; keepalive_requests 100000000; tcp_nodelay on; client_max_body_size 0;
  {http}
}}
"""
    (place / "nginx.conf").write_text(text + stream)
    return ["nginx", "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")]


def start_backend(bench, body, protocol="http1"):
    """nginx that answers everything with `body` bytes."""
    port = free_port()
    place = bench.directory / f"backend-{port}"
    location = f'add_trailer grpc-status 0; return 200 "{"x" * body}";' if protocol == "h2c" else f'return 200 "{"x" * body}";'
    if body > 2048:  # more than a word of nginx's configuration holds
        (bench.directory / f"body-{body}.txt").write_text("x" * body)
        location = f"root {bench.directory}; try_files /body-{body}.txt =404;"
    version = " http2" if protocol == "h2c" else ""
    command = write_nginx(place, f"access_log off; sendfile on; http2_max_requests 100000000; server {{ listen 127.0.0.1:{port}{version} backlog=4096; "
                          f"location / {{ {location} }} }}")
    return Peer("(no proxy)", command, port, bench.load_cpus)


# ---- Contenders: start(bench, row, backend port, port) → Peer -----------------------------------


def start_pillion(bench, row, backend, port):
    file = bench.directory / f"proxy-{port}.toml"
    own = [free_port() for _ in range(5)]
    protocol = {"tcp": "tcp", "h2": "http2", "h2c": "http2"}.get(row.front, "http")
    front_tls = row.front in TLS_FRONTS
    identity = (f'[identity]\ncertificate_file = "{bench.certificates.certificate}"\nkey_file = "{bench.certificates.key}"\n'
                f'trust_bundle_file = "{bench.certificates.authority}"\n' if front_tls or row.back == "mtls" else "")
    # TLS is terminated on the way in only: there the backend stands for the app.
    inbound = ""
    explicit = f'explicit = [{{ listen = "127.0.0.1:{port}", upstream = "backend", protocol = "{protocol}" }}]'
    if front_tls:
        app = "http2" if row.back == "h2c" else "http"
        explicit = ""
        inbound = (f'mutual_tls = "strict"\nrequire_client_certificate = {"true" if row.front == "mtls" else "false"}\n'
                   f'ports = [{{ name = "app", port = {backend}, protocol = "{app}" }}]\n'
                   f'published = [{{ listener = "publish-{port}", port = {backend}, listen = "127.0.0.1:{port}" }}]')
    back = {"tcp": 'protocol = "tcp"', "h2c": 'protocol = "http2"', "mtls": 'tls = { server_name = "bench.test" }'}.get(row.back, "")
    file.write_text(f"""
access_log = {{ path = "{bench.directory}/pillion.log" }}
{explicit}
outbound = {{ listen = "127.0.0.1:{own[1]}" }}
health = {{ listen = "127.0.0.1:{own[2]}" }}
prometheus = {{ listen = "127.0.0.1:{own[3]}" }}
admin = {{ listen = "127.0.0.1:{own[4]}" }}
drain = {{ minimum = "0s" }}
[inbound]
listen = "127.0.0.1:{own[0]}"
{inbound}
[upstream.backend]
address = ["127.0.0.1:{backend}"]
{back}
{identity}""")
    return Peer("pillion-proxy", [str(bench.binaries / "pillion-proxy"), "--config", str(file)], port, bench.proxy_cpus)


def start_haproxy(bench, row, backend, port):
    file = bench.directory / f"haproxy-{port}.cfg"
    keys = bench.certificates
    bind = {"tls": f"ssl crt {keys.both} alpn http/1.1", "h2": f"ssl crt {keys.both} alpn h2", "h2c": "proto h2",
            "mtls": f"ssl crt {keys.both} alpn http/1.1 verify required ca-file {keys.authority}"}.get(row.front, "")
    server = {"h2c": "proto h2", "mtls": f"ssl crt {keys.both} ca-file {keys.authority} verify required sni str(bench.test) verifyhost bench.test"
              }.get(row.back, "")
    is_tcp = row.front == "tcp"
    http = "" if is_tcp else ("  unique-id-format %[uuid()]\n  unique-id-header X-Request-ID\n  http-request add-header Via \"1.1 haproxy\"\n"
                              "  http-response add-header Via \"1.1 haproxy\"\n")
    file.write_text(f"""
global
  nbthread 1
  maxconn 6000
  log stdout format raw local0
  tune.h2.max-concurrent-streams 100
defaults
  mode {"tcp" if is_tcp else "http"}
  log global
  {"option tcplog" if is_tcp else f'log-format "{HAPROXY_LOG}"'}
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  {"option splice-auto" if is_tcp else "http-reuse always"}
frontend in
  bind 127.0.0.1:{port} {bind}
{http}  default_backend out
backend out
  server one 127.0.0.1:{backend} {server}
""")
    with open(bench.directory / "haproxy.log", "ab") as log:
        return Peer("haproxy", ["haproxy", "-db", "-f", str(file)], port, bench.proxy_cpus, log)


def start_nginx(bench, row, backend, port, name="nginx", log_options=""):
    place, keys = bench.directory / f"{name}-{port}", bench.certificates
    if row.front == "tcp":
        return Peer(name, write_nginx(place, "", f"stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{backend}; }} }}"),
                    port, bench.proxy_cpus)
    listen = {"tls": " ssl", "mtls": " ssl", "h2": " ssl http2", "h2c": " http2"}.get(row.front, "")
    tls = f"ssl_certificate {keys.certificate}; ssl_certificate_key {keys.key}; ssl_protocols TLSv1.3; ssl_session_cache off; " if row.front in TLS_FRONTS else ""
    if row.front == "mtls":
        tls += f"ssl_verify_client on; ssl_client_certificate {keys.authority}; "
    ids = "add_header Via '1.1 nginx'; add_header X-Request-ID $request_id; "
    if row.back == "h2c":
        target = "grpc_pass grpc://backend; grpc_set_header X-Request-ID $request_id; grpc_set_header Via '2 nginx';"
    else:
        scheme = "https" if row.back == "mtls" else "http"
        target = (f"proxy_pass {scheme}://backend; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host; "
                  "proxy_set_header X-Request-ID $request_id; proxy_set_header Via '1.1 nginx'; ")
        if row.back == "mtls":
            target += (f"proxy_ssl_certificate {keys.certificate}; proxy_ssl_certificate_key {keys.key}; proxy_ssl_verify on; "
                       f"proxy_ssl_trusted_certificate {keys.authority}; proxy_ssl_name bench.test; proxy_ssl_protocols TLSv1.3; ")
    http = (f"{NGINX_LOG} access_log {bench.directory}/{name}.log access{log_options}; upstream backend {{ server 127.0.0.1:{backend}; "
            f"keepalive 256; keepalive_requests 100000000; }} server {{ listen 127.0.0.1:{port}{listen} backlog=4096; {tls}"
            f"location / {{ {target} {ids} }} }}")
    return Peer(name, write_nginx(place, http), port, bench.proxy_cpus)


def start_nghttpx(bench, row, backend, port):
    log = ('{"timestamp":"$time_iso8601","method":"$method","path":"$path","authority":"$http_host","status":$status,'
           '"protocol":"$protocol","bytes_sent":$body_bytes_sent,"duration":$request_time,"upstream":"$backend_host:$backend_port",'
           '"downstream":"$remote_addr:$remote_port"}')
    keys = bench.certificates
    tls = row.front in TLS_FRONTS
    lines = [f"frontend=127.0.0.1,{port}{'' if tls else ';no-tls'}", f"backend=127.0.0.1,{backend}{';;proto=h2' if row.back == 'h2c' else ''}",
             "workers=1", "single-process=yes", f"accesslog-file={bench.directory}/nghttpx.log", f"errorlog-file={bench.directory}/nghttpx.err",
             f"accesslog-format={log}", "frontend-http2-max-concurrent-streams=100"]
    if tls:
        lines += [f"private-key-file={keys.key}", f"certificate-file={keys.certificate}", "tls-min-proto-version=TLSv1.3"]
    if row.front == "mtls":
        lines += ["verify-client=yes", f"verify-client-cacert={keys.authority}"]
    file = bench.directory / f"nghttpx-{port}.conf"
    file.write_text("\n".join(lines) + "\n")
    return Peer("nghttpx", ["nghttpx", f"--conf={file}"], port, bench.proxy_cpus)


CONTENDERS = {
    "pillion-proxy": start_pillion,
    "haproxy": start_haproxy,
    "nginx": start_nginx,
    "nginx-buffered": lambda bench, row, backend, port: start_nginx(bench, row, backend, port, "nginx-buffered", " buffer=64k flush=1s"),
    "nghttpx": start_nghttpx,  # makes no request id
}


def installed():
    return [name for name in CONTENDERS if name == "pillion-proxy" or shutil.which(name.split("-")[0])]
