"""Datagrams: sessions by client, their ends and limits, and what is dropped."""
import signal
import socket
import threading
import time

import pytest

from support.pillion_testing import free_port, wait_until
from support.proxy_lab import ProxyLab


class UdpLab(ProxyLab):
    """The explicit listener and the published one are UDP's."""

    def write(self, config):
        self.text = self.text.replace('protocol = "http" }]\n[inbound]', 'transport = "udp" }]\n[inbound]')
        for line in self.text.splitlines():
            if line.startswith("published") and "transport" not in line:
                self.text = self.text.replace(line, line.replace(" }]", ', transport = "udp" }]'))
        super().write(config)


class Echo:
    """Answers each datagram with `answers` copies of it; remembers who sent what."""

    def __init__(self, address="127.0.0.1", answers=1):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((address, 0))
        self.port = self.socket.getsockname()[1]
        self.seen = []
        self.answers = answers
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
            except OSError:
                return
            if data == b"stop":
                return
            self.seen.append((data, peer))
            for _ in range(self.answers):
                self.socket.sendto(data, peer)

    def close(self):
        if self.socket.fileno() >= 0:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"stop", self.socket.getsockname())
            self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def upstream(port):
    return f'[upstream.b]\naddress = ["127.0.0.1:{port}"]\n'


def client_of(port, timeout=10):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(timeout)
    client.connect(("127.0.0.1", port))
    return client


def say(client, data):
    client.send(data)
    return client.recv(65536)


def sum_of(lab, name):
    return sum(lab.metric(name).values())


def test_each_client_has_a_session_and_hears_its_own_answers(workspace):
    with Echo() as echo, UdpLab(workspace, upstream(echo.port)) as lab:
        clients = [client_of(lab.ports["explicit"]) for _ in range(5)]
        for turn in range(3):
            for i, client in enumerate(clients):
                assert say(client, f"{turn} {i}".encode()) == f"{turn} {i}".encode()
        assert len({peer for _, peer in echo.seen}) == 5
        assert sum_of(lab, "pillion_proxy_udp_sessions_active") == 5
        assert lab.metric("pillion_proxy_udp_datagrams_total") == {'{to="upstream"}': 15, '{to="client"}': 15}
        for client in clients:
            client.close()


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65507])
def test_datagrams_of_every_size_pass_whole(workspace, size):
    with Echo() as echo, UdpLab(workspace, upstream(echo.port)) as lab, client_of(lab.ports["explicit"]) as client:
        assert say(client, b"d" * size) == b"d" * size


def test_a_burst_goes_in_batches_and_in_order(workspace):
    with Echo() as echo, UdpLab(workspace, upstream(echo.port)) as lab, client_of(lab.ports["explicit"]) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for start in range(0, 400, 100):
            for i in range(start, start + 100):
                client.send(b"%d" % i)
            assert [client.recv(100) for _ in range(100)] == [b"%d" % i for i in range(start, start + 100)]


def test_the_app_is_reached_from_127_0_0_6_and_many_answers_to_one_question_pass(workspace):
    with Echo(answers=3) as app, UdpLab(workspace, upstream(1), app_port=app.port) as lab, \
            client_of(lab.ports["publish"]) as client:
        assert say(client, b"q") == b"q" and client.recv(10) == b"q" and client.recv(10) == b"q"
        assert app.seen[0][1][0] == "127.0.0.6"


def answer_in_a_drain(workspace):
    """Whether an answer that is late comes while the proxy ends; None when the machine was too slow to tell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as app:
        app.bind(("127.0.0.1", 0))
        app.settimeout(20)
        with UdpLab(workspace, upstream(app.getsockname()[1]), env={"PILLION_SERVICE": "s"}) as lab, \
                client_of(lab.ports["explicit"]) as client:
            begun = time.monotonic()
            client.send(b"question")
            data, session = app.recvfrom(100)
            lab.program.signal(signal.SIGTERM)
            wait_until(lambda: "draining" in lab.program.stderr)
            app.sendto(b"answer to " + data, session)
            try:
                answer = client.recv(100)
            except TimeoutError:
                answer = b""
            if time.monotonic() - begun > 0.9 and not answer:
                return None
            assert lab.program.wait() == 0
            return answer


def test_who_waits_for_an_answer_gets_it_in_a_drain(workspace):
    assert wait_until(lambda: answer_in_a_drain(workspace)) == b"answer to question"


def test_an_idle_session_ends_and_is_logged_and_the_client_gets_a_new_one(workspace):
    with Echo() as echo, UdpLab(workspace, upstream(echo.port) + '[timeouts]\nudp_idle = "200ms"\n') as lab, \
            client_of(lab.ports["explicit"]) as client:
        say(client, b"one")
        record = lab.log(1)[0]
        assert (record["protocol"], record["upstream"], record["bytes_received"], record["bytes_sent"]) == ("udp", "b", 3, 3)
        assert record["response_code_details"] == "udp_idle" and record["response_flags"] == ""
        assert sum_of(lab, "pillion_proxy_udp_sessions_active") == 0
        assert say(client, b"two") == b"two"
        assert len({peer for _, peer in echo.seen}) == 2


def test_nobody_behind_it_drops_the_datagram_and_ends_the_session(workspace):
    port = free_port()
    with UdpLab(workspace, upstream(port)) as lab, client_of(lab.ports["explicit"]) as client:
        client.send(b"lost")
        record = lab.log(1)[0]
        assert record["response_flags"] == "UF" and record["response_code_details"] == "udp_unreachable"
        assert sum_of(lab, "pillion_proxy_udp_unreachable_total") >= 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind(("127.0.0.1", port))
            late.settimeout(10)
            client.send(b"found")
            assert late.recv(10) == b"found"


def test_sessions_are_limited_and_the_first_ones_go_on(workspace):
    with Echo() as echo, UdpLab(workspace, upstream(echo.port) + "[limits]\nmax_udp_sessions = 2\n") as lab:
        clients = [client_of(lab.ports["explicit"]) for _ in range(3)]
        assert say(clients[0], b"a") == b"a" and say(clients[1], b"b") == b"b"
        clients[2].send(b"c")
        wait_until(lambda: sum_of(lab, "pillion_proxy_udp_sessions_refused_total") == 1, what="the refusal")
        assert say(clients[0], b"again") == b"again"
        assert sum_of(lab, "pillion_proxy_udp_dropped_total") == 1
        for client in clients:
            client.close()


def test_others_cannot_answer_in_the_upstreams_stead(workspace):
    with Echo() as echo, UdpLab(workspace, upstream(echo.port)) as lab, client_of(lab.ports["explicit"]) as client:
        say(client, b"hello")
        session = echo.seen[0][1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"forged", session)
        assert say(client, b"real") == b"real"


def test_a_listener_that_leads_to_itself_does_not_loop(workspace):
    with UdpLab(workspace, '[upstream.b]\naddress = ["127.0.0.1:@explicit@"]\n') as lab, \
            client_of(lab.ports["explicit"]) as client:
        client.send(b"loop")
        wait_until(lambda: sum_of(lab, "pillion_proxy_udp_dropped_total") == 1, what="the drop")
        assert "would come back to it" in lab.program.output
        assert sum_of(lab, "pillion_proxy_udp_sessions_active") == 0


@pytest.mark.parametrize("listen,family,addresses", [
    ("0.0.0.0", socket.AF_INET, ["127.0.0.9", "127.0.0.10"]), ("[::]", socket.AF_INET6, ["::1"])])
def test_answers_come_from_the_address_that_was_asked(workspace, listen, family, addresses):
    class Lab(UdpLab):
        def write(self, config):
            super().write(config)
            port = self.ports["explicit"]
            self.config_path.write_text(self.config_path.read_text().replace(f'"127.0.0.1:{port}"', f'"{listen}:{port}"'))

    with Echo() as echo, Lab(workspace, upstream(echo.port)) as lab:
        for address in addresses:
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.connect((address, lab.ports["explicit"]))  # hears this address alone
                assert say(client, b"from you?") == b"from you?"


def test_a_reload_leads_new_sessions_elsewhere_and_the_drain_ends_them(workspace):
    with Echo() as old, Echo() as new, UdpLab(workspace, upstream(old.port)) as lab:
        with client_of(lab.ports["explicit"]) as first, client_of(lab.ports["explicit"]) as second:
            assert say(first, b"1") == b"1"
            lab.write(upstream(new.port))
            lab.program.signal(1)
            wait_until(lambda: "a new configuration is in force" in lab.program.output, what="the reload")
            assert say(first, b"2") == b"2" and len(old.seen) == 2
            assert say(second, b"3") == b"3" and len(new.seen) == 1
        lab.program.signal(15)
        assert lab.program.wait() == 0
