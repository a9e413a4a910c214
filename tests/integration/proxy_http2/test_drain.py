"""The two GOAWAYs of a drain, and what ends an idle connection."""
import signal

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, upstream

EVERY_STREAM = 2**31 - 1


def gates(request):
    return None if request[":path"] == "/wait" else Reply(body=b"ok")


def test_a_drain_says_goaway_twice_and_finishes_what_is_under_way(workspace):
    with Http2Backend(gates) as app:
        config = upstream(app.port, 'protocol = "http2"') + '[drain]\nminimum = "600ms"\ngoaway_grace = "300ms"\n'
        with ProxyLab(workspace, config, app_port=app.port, app_protocol="http2") as proxy, \
                Http2Client(proxy.ports["publish"]) as client, Http2Client(proxy.ports["explicit"]) as outbound:
            waiting = client.open("GET", "/wait")
            outbound.request()
            wait_until(lambda: len(app.requests) == 2, what="the requests")
            assert proxy.admin("POST", "/drain_listeners").status == 200
            while not client.goaways:
                client.read_one(None)
            assert client.goaways == [(EVERY_STREAM, 0)]
            assert client.request().status == 200  # what was sent before the GOAWAY was seen is served
            while len(client.goaways) < 2:
                client.read_one(None)
            assert client.goaways[1] == (3, 0) and not client.responses[waiting].ended and not client.is_closed
            assert outbound.request().status == 200 and not outbound.goaways


def test_a_drained_connection_closes_after_its_last_stream(workspace):
    held = []

    def on_event(connection, event):
        if event.__class__.__name__ == "StreamEnded" and not held:
            held.append((connection, event.stream_id))
            return True
        return False

    with Http2Backend(on_event=on_event) as app:
        config = upstream(app.port) + '[drain]\nminimum = "0s"\ngoaway_grace = "100ms"\n'
        with ProxyLab(workspace, config, app_port=app.port, app_protocol="http2") as proxy, \
                Http2Client(proxy.ports["publish"]) as client:
            stream = client.open("GET", "/held")
            wait_until(lambda: held, what="the request")
            proxy.program.signal(signal.SIGTERM)
            while len(client.goaways) < 2:
                client.read_one(None)
            connection, number = held[0]
            connection.send_headers(number, [(":status", "204")], end_stream=True)
            connection.socket.sendall(connection.data_to_send())
            assert client.wait(stream).status == 204
            client.wait_closed()
            assert proxy.program.wait() == 0


def test_a_connection_has_an_end_after_its_last_request(workspace):
    with Http2Backend(gates) as backend:
        config = upstream(backend.port, 'protocol = "http2"') + '[limits]\nmax_requests_per_connection = 3\n'
        with ProxyLab(workspace, config) as proxy, Http2Client(proxy.ports["explicit"]) as client:
            assert [client.request().status for _ in range(3)] == [200, 200, 200]
            assert client.wait_closed() == [0] and client.goaways[0][0] == 5


def test_an_idle_connection_is_closed_with_a_goaway(workspace):
    with Http2Backend(gates) as backend:
        config = upstream(backend.port, 'protocol = "http2"') + '[timeouts]\nconnection_idle = "300ms"\n'
        with ProxyLab(workspace, config) as proxy, Http2Client(proxy.ports["explicit"]) as client:
            client.request()
            assert client.wait_closed() == [0]
