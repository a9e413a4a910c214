"""gRPC through the proxy: the standard interoperability cases, with Debian's gRPC on both ends."""
import concurrent.futures
import threading

import pytest

from support.http2_lab import Http2Client
from support.pillion_testing import free_port, http_get
from support.proxy_lab import ProxyLab, upstream

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed")

RAW = {"request_deserializer": None, "response_serializer": None}


class Service(grpc.GenericRpcHandler):
    """/t/Unary, /t/ServerStream, /t/ClientStream, /t/Bidirectional, /t/Fail, /t/Wait: messages are bytes."""

    def __init__(self):
        self.metadata, self.waiting, self.cancelled = [], threading.Event(), threading.Event()

    def service(self, details):
        name = details.method.rpartition("/")[2]
        self.metadata.append(dict(details.invocation_metadata))
        kinds = {"Unary": grpc.unary_unary_rpc_method_handler, "Fail": grpc.unary_unary_rpc_method_handler,
                 "Wait": grpc.unary_unary_rpc_method_handler, "ServerStream": grpc.unary_stream_rpc_method_handler,
                 "ClientStream": grpc.stream_unary_rpc_method_handler, "Bidirectional": grpc.stream_stream_rpc_method_handler}
        return kinds[name](getattr(self, name.lower())) if name in kinds else None

    def unary(self, request, context):
        context.send_initial_metadata((("x-initial", "i"), ("x-data-bin", b"\x00\xff")))
        context.set_trailing_metadata((("x-trailing", "t"),))
        return request

    def serverstream(self, request, _context):
        for size in map(int, request.split()):
            yield b"s" * size

    def clientstream(self, requests, _context):
        return str(sum(len(one) for one in requests)).encode()

    def bidirectional(self, requests, _context):
        for one in requests:
            yield one

    def fail(self, request, context):
        context.abort(grpc.StatusCode.ALREADY_EXISTS, "naïve: 100 %")

    def wait(self, _request, context):
        context.add_callback(self.cancelled.set)
        self.waiting.set()
        self.cancelled.wait(20)
        return b""


@pytest.fixture(scope="module")
def service():
    one = Service()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=(one,))
    one.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield one
    server.stop(None)


class GrpcLab(ProxyLab):
    def __init__(self, directory, port, **options):
        super().__init__(directory, upstream(port, 'protocol = "grpc"'), explicit_protocol="grpc", **options)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.ports['explicit']}",
                                             options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0),
                                                      ("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)])

    def __exit__(self, *details):
        self.channel.close()
        super().__exit__(*details)


@pytest.fixture
def lab(workspace, service):
    with GrpcLab(workspace, service.port) as one:
        yield one


def test_empty_and_large_unary_calls(lab):
    call = lab.channel.unary_unary("/t/Unary")
    assert call(b"", timeout=30) == b""
    large = bytes(range(256)) * 1060  # the interop suite's 271,828 bytes, about
    assert call(large, timeout=30) == large


def test_client_streaming(lab):
    sizes = (27182, 8, 1828, 45904)
    assert lab.channel.stream_unary("/t/ClientStream")((b"x" * size for size in sizes), timeout=30) == b"74922"


def test_server_streaming(lab):
    sizes = (31415, 9, 2653, 58979)
    replies = lab.channel.unary_stream("/t/ServerStream")(" ".join(map(str, sizes)).encode(), timeout=30)
    assert [len(one) for one in replies] == list(sizes)


def test_ping_pong(lab):
    sent = threading.Semaphore(1)

    def requests():
        for size in (27182, 8, 1828, 45904):
            assert sent.acquire(timeout=30)
            yield b"p" * size

    sizes = []
    for reply in lab.channel.stream_stream("/t/Bidirectional")(requests(), timeout=30):
        sizes.append(len(reply))
        sent.release()
    assert sizes == [27182, 8, 1828, 45904]


def test_an_empty_stream(lab):
    assert list(lab.channel.stream_stream("/t/Bidirectional")(iter(()), timeout=30)) == []


def test_metadata_travels_both_ways(lab, service):
    reply, call = lab.channel.unary_unary("/t/Unary").with_call(b"m", timeout=30, metadata=(("x-in", "1"), ("x-raw-bin", b"\x01\xfe")))
    assert reply == b"m"
    assert service.metadata[-1]["x-in"] == "1" and service.metadata[-1]["x-raw-bin"] == b"\x01\xfe"
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-initial"] == "i" and initial["x-data-bin"] == b"\x00\xff" and trailing["x-trailing"] == "t"


def test_a_status_with_its_message_travels(lab):
    with pytest.raises(grpc.RpcError) as caught:
        lab.channel.unary_unary("/t/Fail")(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS and caught.value.details() == "naïve: 100 %"


def test_an_unknown_method_is_unimplemented(lab):
    with pytest.raises(grpc.RpcError) as caught:
        lab.channel.unary_unary("/t/Nothing")(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_and_a_cancellation_reach_the_server(lab, service):
    for end in ("deadline", "cancel"):
        service.waiting.clear()
        service.cancelled.clear()
        call = lab.channel.unary_unary("/t/Wait").future(b"", timeout=3 if end == "deadline" else 30)
        assert service.waiting.wait(20), "the call never reached the server"
        if end == "cancel":
            call.cancel()
        else:
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert service.cancelled.wait(20)


def test_a_call_that_cannot_connect_is_unavailable_with_the_reason(workspace):
    with GrpcLab(workspace, free_port()) as lab:
        with pytest.raises(grpc.RpcError) as caught:
            lab.channel.unary_unary("/t/Unary")(b"", timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "cannot connect to the upstream" in caught.value.details()
        record = lab.log()[0]
        assert record["response_flags"] == "UF" and record["status"] == 502
        with Http2Client(lab.ports["explicit"]) as client:  # trailers-only: one HEADERS frame with END_STREAM
            reply = client.request("POST", "/t/Unary", [("content-type", "application/grpc"), ("te", "trailers")], body=b"")
            assert (reply.status, reply.headers["grpc-status"], reply.ended) == (200, "14", True) and not reply.trailers


def test_a_thousand_calls_use_one_connection(lab):
    call = lab.channel.unary_unary("/t/Unary")
    for batch in range(10):
        futures = [call.future(b"%d" % i, timeout=30) for i in range(100)]
        assert [one.result() for one in futures] == [b"%d" % i for i in range(100)]
    made = {key: value for key, value in lab.metric("pillion_proxy_upstream_connections_total").items() if value}
    assert made and sum(made.values()) <= 2
    assert http_get(lab.url("admin", "/ready")).status == 200
