"""The app moves to another port under a proxy that serves it: nothing fails, new requests follow."""
import socket
import threading
from contextlib import contextmanager

from support.pillion_testing import HttpApp, Program, RawClient, http_get, http_request, program, wait_until

GET = "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"


class Lab:
    """A proxy with one published port that leads to the app's port, and the two apps."""

    def __init__(self, admin, publish, before, after):
        self.admin_url = f"http://127.0.0.1:{admin}"
        self.port, self.before, self.after = publish, before, after

    def move(self, app):
        reply = http_request("POST", f"{self.admin_url}/app_ports?{self.before.port}={app.port}")
        assert reply.status == 200, reply

    def busy(self, app):
        return http_get(f"{self.admin_url}/app_ports").json()["busy"].get(str(app.port), 0)


@contextmanager
def lab(workspace, protocol="http"):
    before, after = HttpApp(), HttpApp()
    admin, publish = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    file = workspace / "moves.toml"
    file.write_text(f'[inbound]\nports = [{{ name = "http", port = {before.port}, protocol = "{protocol}" }}]\n'
                    f'published = [{{ listener = "publish-80", port = {before.port} }}]\n')
    script = (f'exec 3<&{admin.fileno()} 4<&{publish.fileno()}; '
              f'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:publish-80 exec "$0" --config {file}')
    with Program(["/bin/bash", "-c", script, program("pillion-proxy")], workspace,
                 pass_fds=(admin.fileno(), publish.fileno())) as proxy:
        made = Lab(admin.getsockname()[1], publish.getsockname()[1], before, after)
        wait_until(lambda: http_get(made.admin_url + "/ready").status == 200, what="ready\n" + proxy.output)
        yield made


def test_a_keep_alive_client_follows_the_app_with_its_next_request(workspace):
    with lab(workspace) as proxy:
        client = RawClient(proxy.port)
        for app in (proxy.before, proxy.after, proxy.before):
            proxy.move(app)
            seen = len(app.requests)
            client.send(GET)
            assert client.read_response()[0] == 200
            assert len(app.requests) == seen + 1


def test_what_is_under_way_ends_where_it_began_and_is_counted(workspace):
    with lab(workspace) as proxy:
        replies = []
        url = f"http://127.0.0.1:{proxy.port}/delay/1.5"
        slow = threading.Thread(target=lambda: replies.append(http_get(url).status))
        slow.start()
        wait_until(lambda: proxy.busy(proxy.before) == 1, what="the request to be under way")
        proxy.move(proxy.after)
        assert http_get(f"http://127.0.0.1:{proxy.port}/echo").status == 200
        assert len(proxy.after.requests) == 1
        assert proxy.busy(proxy.before) == 1
        assert http_get(f"{proxy.admin_url}/app_ports?idle={proxy.before.port}").status == 503
        slow.join()
        assert replies == [200]
        wait_until(lambda: proxy.busy(proxy.before) == 0, what="nothing to be left")
        assert http_get(f"{proxy.admin_url}/app_ports?idle={proxy.before.port}").status == 200


def test_relayed_connections_stay_and_new_ones_follow(workspace):
    with lab(workspace, protocol="tcp") as proxy:
        stays = RawClient(proxy.port)
        stays.send(GET)
        assert stays.read_response()[0] == 200
        proxy.move(proxy.after)
        follows = RawClient(proxy.port)
        for client in (follows, stays):
            client.send(GET)
            assert client.read_response()[0] == 200
        assert [len(proxy.before.requests), len(proxy.after.requests)] == [2, 1]
        assert [proxy.busy(proxy.before), proxy.busy(proxy.after)] == [1, 1]
        stays.close()
        wait_until(lambda: proxy.busy(proxy.before) == 0, what="the connection to be gone")


def test_a_move_that_makes_no_sense_is_refused_and_changes_nothing(workspace):
    with lab(workspace) as proxy:
        for query in ("", "?1=2", f"?{proxy.before.port}", f"?{proxy.before.port}=0"):
            assert http_request("POST", f"{proxy.admin_url}/app_ports{query}").status == 400, query
        ports = http_get(f"{proxy.admin_url}/app_ports").json()["ports"]
        assert ports == [{"port": proxy.before.port, "app_port": proxy.before.port}]
