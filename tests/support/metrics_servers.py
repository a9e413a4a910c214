"""Real servers that metrics come from: Redis, nginx, HAProxy, PostgreSQL, each private and of one test.

    with redis(lab), nginx_and_haproxy(lab): ...          # ports redis, nginx, web, stats of the lab
    with PostgresServer(lab) as postgres: postgres.psql("SELECT 1")
"""
import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.pillion_testing import Program, http_get, run, wait_until

POSTGRES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "pg secret"


def redis(lab, *options):
    return Program(["/usr/bin/redis-server", "--port", lab.port("redis"), "--bind", "127.0.0.1", "--save", "",
                    "--dir", lab.directory, *options], lab.directory)


@contextlib.contextmanager
def nginx_and_haproxy(lab):
    """Gives nginx' Program; nginx answers on port `nginx` (status at /status), HAProxy before it on `web`."""
    (lab.directory / "nginx.conf").write_text(lab.fill_in('''
daemon off; master_process off; pid @dir@/nginx.pid; error_log @dir@/error.log;
events {} http { access_log off; server { listen 127.0.0.1:@port:nginx@;
location /status { stub_status; } location / { return 204; } } }
'''))
    (lab.directory / "haproxy.cfg").write_text(lab.fill_in('''
global
  stats socket @dir@/haproxy.sock
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend web
  bind 127.0.0.1:@port:web@
  default_backend api
backend api
  server one 127.0.0.1:@port:nginx@ check inter 100ms
  server gone 127.0.0.1:1 check inter 100ms fall 1
frontend stats
  bind 127.0.0.1:@port:stats@
  stats enable
  stats uri /stats
'''))
    with Program(["/usr/sbin/nginx", "-c", lab.directory / "nginx.conf", "-p", lab.directory], lab.directory) as nginx, \
            Program(["/usr/sbin/haproxy", "-db", "-f", lab.directory / "haproxy.cfg"], lab.directory):
        wait_until(lambda: http_get(f"http://127.0.0.1:{lab.port('web')}/").status == 204, what="HAProxy before nginx")
        yield nginx


class PostgresServer:
    """On a Unix socket in `directory`, user `admin`, password in `password_file`; runs as `postgres`, since it
    refuses root."""

    def __init__(self, lab):
        assert (POSTGRES / "initdb").exists(), f"no PostgreSQL in {POSTGRES}"
        self.directory = Path(tempfile.mkdtemp(prefix="pillion-pg-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        self.password_file = self.directory / "password"
        self.password_file.write_text(PASSWORD + "\n")
        as_user = []
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        data = self.directory / "db"
        run([*as_user, POSTGRES / "initdb", "-D", data, "-U", "admin", "-A", "scram-sha-256", "--no-sync",
             f"--pwfile={self.password_file}"], check=0, timeout=120)
        self.server = Program([*as_user, POSTGRES / "postgres", "-D", data, "-c", "listen_addresses=", "-c",
                               f"unix_socket_directories={self.directory}", "-c", "fsync=off"], lab.directory)
        wait_until(lambda: run([POSTGRES / "pg_isready", "-h", self.directory]).returncode == 0, what="PostgreSQL")

    def psql(self, sql):
        subprocess.run(["psql", "-h", self.directory, "-U", "admin", "postgres", "-qc", sql],
                       env={**os.environ, "PGPASSWORD": PASSWORD}, check=True)

    def stop(self):
        self.server.stop(2)  # SIGINT: fast shutdown

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.server.close()
        shutil.rmtree(self.directory, ignore_errors=True)
