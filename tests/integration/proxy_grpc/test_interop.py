"""The cases of gRPC's interoperability test description, by their names, with Debian's gRPC on both ends.

Left out: those of call and channel credentials (OAuth, JWT, compute engine, ALTS, google_default_credentials) and of
load reports (orca), which have no hop to look at, and cacheable_unary, which its authors withdrew. Messages are JSON
where the description has its protobuf: to a proxy they are bytes.
"""
import concurrent.futures
import json
import secrets
import threading

import pytest

from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, upstream
from support.tls_lab import Authority

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed")

SERVICE = "/grpc.testing.TestService/"
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
REQUEST_SIZES, RESPONSE_SIZES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"


def message(payload=b"", **fields):
    return json.dumps(fields).encode() + b"\0" + payload


def payload_of(data):
    fields, _, payload = data.partition(b"\0")
    return json.loads(fields), payload


class TestServiceHandler(grpc.GenericRpcHandler):
    """The service of the description: EmptyCall, UnaryCall, the three streaming calls."""

    __test__ = False

    def __init__(self):
        self.cancelled, self.release = threading.Semaphore(0), threading.Event()

    def service(self, details):
        name = details.method.removeprefix(SERVICE)
        kinds = {"EmptyCall": grpc.unary_unary_rpc_method_handler, "UnaryCall": grpc.unary_unary_rpc_method_handler,
                 "StreamingOutputCall": grpc.unary_stream_rpc_method_handler,
                 "StreamingInputCall": grpc.stream_unary_rpc_method_handler,
                 "FullDuplexCall": grpc.stream_stream_rpc_method_handler}
        return kinds[name](getattr(self, "do_" + name)) if name in kinds else None

    @staticmethod
    def echo_metadata(context):
        found = dict(context.invocation_metadata())
        if INITIAL in found:
            context.send_initial_metadata(((INITIAL, found[INITIAL]),))
        if TRAILING in found:
            context.set_trailing_metadata(((TRAILING, found[TRAILING]),))

    @staticmethod
    def fail_if_asked(fields, context):
        if "code" in fields:
            context.abort({code.value[0]: code for code in grpc.StatusCode}[fields["code"]], fields["message"])

    def do_EmptyCall(self, _request, context):
        self.echo_metadata(context)
        return b""

    def do_UnaryCall(self, request, context):
        fields, payload = payload_of(request)
        self.echo_metadata(context)
        self.fail_if_asked(fields, context)
        if fields.get("compressed"):
            context.set_compression(grpc.Compression.Gzip)
        return message(bytes(fields.get("size", 0)), got=len(payload))

    def do_StreamingOutputCall(self, request, context):
        fields, _ = payload_of(request)
        if "compressed" in fields:
            context.set_compression(grpc.Compression.Gzip)
        for i, size in enumerate(fields["sizes"]):
            if "compressed" in fields and not fields["compressed"][i]:
                context.disable_next_message_compression()
            yield message(bytes(size))

    def do_StreamingInputCall(self, requests, _context):
        return message(total=sum(len(payload_of(one)[1]) for one in requests))

    def do_FullDuplexCall(self, requests, context):
        self.echo_metadata(context)
        context.add_callback(self.cancelled.release)
        for one in requests:
            fields, _ = payload_of(one)
            self.fail_if_asked(fields, context)
            if fields.get("sleeps"):
                self.release.wait(20)
            for size in fields.get("sizes", ()):
                yield message(bytes(size))


@pytest.fixture(scope="module")
def service():
    one = TestServiceHandler()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=(one,),
                         options=[("grpc.max_receive_message_length", -1)])
    one.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield one
    one.release.set()
    server.stop(None)


OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1),
           ("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", "orders.test")]


@pytest.fixture(scope="module", params=["prior knowledge", "mutual TLS"])
def lab(request, service, tmp_path_factory):
    directory = tmp_path_factory.mktemp("grpc")
    if request.param == "prior knowledge":
        with ProxyLab(directory, upstream(service.port, 'protocol = "grpc"'), explicit_protocol="grpc") as one:
            one.connect = lambda: grpc.insecure_channel(f"127.0.0.1:{one.ports['explicit']}", options=OPTIONS)
            one.channel = one.connect()
            yield one
            one.channel.close()
        return
    authority = Authority(directory / "ca")
    identity = authority.issue("orders", uris=["spiffe://prod/orders"], dns=["orders.test"])
    client = authority.issue("shop", uris=["spiffe://prod/shop"])
    credentials = grpc.ssl_channel_credentials(identity.bundle.read_bytes(), client.key.read_bytes(),
                                               client.certificate.read_bytes())
    with StrictLab(directory, identity.table(), app_port=service.port, app_protocol="grpc", explicit='upstream = ""') as one:
        one.connect = lambda: grpc.secure_channel(f"127.0.0.1:{one.ports['publish']}", credentials, options=OPTIONS)
        one.channel = one.connect()
        yield one
        one.channel.close()


class StrictLab(ProxyLab):
    def write(self, config):
        self.text = self.text.replace("[inbound]\n", '[inbound]\nmutual_tls = "strict"\n')
        super().write(config)


def unary(lab, request, name="UnaryCall", **options):
    return lab.channel.unary_unary(SERVICE + name).with_call(request, timeout=30, **options)


def duplex(lab, requests, **options):
    return lab.channel.stream_stream(SERVICE + "FullDuplexCall")(requests, timeout=options.pop("timeout", 30), **options)


def status_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_empty_unary(lab):
    assert unary(lab, b"", "EmptyCall")[0] == b""


def test_large_unary(lab):
    fields, payload = payload_of(unary(lab, message(bytes(LARGE_REQUEST), size=LARGE_RESPONSE))[0])
    assert fields["got"] == LARGE_REQUEST and payload == bytes(LARGE_RESPONSE)


def test_client_streaming(lab):
    reply = lab.channel.stream_unary(SERVICE + "StreamingInputCall")((message(bytes(n)) for n in REQUEST_SIZES), timeout=30)
    assert payload_of(reply)[0]["total"] == 74922


def test_server_streaming(lab):
    replies = lab.channel.unary_stream(SERVICE + "StreamingOutputCall")(message(sizes=RESPONSE_SIZES), timeout=30)
    assert [len(payload_of(one)[1]) for one in replies] == list(RESPONSE_SIZES)


def test_ping_pong(lab):
    turn = threading.Semaphore(1)

    def requests():
        for asked, size in zip(RESPONSE_SIZES, REQUEST_SIZES):
            assert turn.acquire(timeout=30)
            yield message(bytes(size), sizes=[asked])

    sizes = []
    for reply in duplex(lab, requests()):
        sizes.append(len(payload_of(reply)[1]))
        turn.release()
    assert sizes == list(RESPONSE_SIZES)


def test_empty_stream(lab):
    assert list(duplex(lab, iter(()))) == []


def record_of(lab, call):
    """The access log record of call(metadata=…)."""
    name = secrets.token_hex(8)
    call(metadata=(("x-request-id", name),))
    return wait_until(lambda: next((one for one in lab.log() if one["request_id"] == name), None), what="the record")


def test_client_compressed_unary(lab):
    def received(compression):
        return record_of(lab, lambda metadata: unary(lab, message(bytes(LARGE_REQUEST), size=1), compression=compression,
                                                     metadata=metadata))["bytes_received"]
    assert received(grpc.Compression.Gzip) < LARGE_REQUEST / 10
    assert received(None) > LARGE_REQUEST


def test_server_compressed_unary(lab):
    for compressed in (True, False):
        request = message(size=LARGE_RESPONSE, compressed=compressed)
        record = record_of(lab, lambda metadata: unary(lab, request, metadata=metadata))
        assert (record["bytes_sent"] < LARGE_RESPONSE / 10) == compressed


def test_client_compressed_streaming(lab):
    def call(metadata):
        reply = lab.channel.stream_unary(SERVICE + "StreamingInputCall")(
            (message(bytes(n)) for n in REQUEST_SIZES), timeout=30, compression=grpc.Compression.Gzip, metadata=metadata)
        assert payload_of(reply)[0]["total"] == 74922
    assert record_of(lab, call)["bytes_received"] < 74922 / 10


def test_server_compressed_streaming(lab):
    def call(metadata):
        replies = list(lab.channel.unary_stream(SERVICE + "StreamingOutputCall")(
            message(sizes=(31415, 92653), compressed=(True, False)), timeout=30, metadata=metadata))
        assert [len(payload_of(one)[1]) for one in replies] == [31415, 92653]
    assert 92653 < record_of(lab, call)["bytes_sent"] < 92653 + 3000


def test_custom_metadata(lab):
    metadata = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
    _, call = unary(lab, message(bytes(LARGE_REQUEST), size=LARGE_RESPONSE), metadata=metadata)
    stream = duplex(lab, iter([message(bytes(LARGE_REQUEST), sizes=[LARGE_RESPONSE])]), metadata=metadata)
    assert len(list(stream)) == 1
    for one in (call, stream):
        assert dict(one.initial_metadata())[INITIAL] == "test_initial_metadata_value"
        assert dict(one.trailing_metadata())[TRAILING] == b"\xab\xab\xab"


def test_status_code_and_message(lab):
    wanted = (grpc.StatusCode.UNKNOWN, "test status message")
    request = message(code=2, message="test status message")
    assert status_of(lambda: unary(lab, request)) == wanted
    assert status_of(lambda: list(duplex(lab, iter([request])))) == wanted


def test_special_status_message(lab):
    assert status_of(lambda: unary(lab, message(code=2, message=SPECIAL))) == (grpc.StatusCode.UNKNOWN, SPECIAL)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=lambda code: code.name)
def test_every_status_code_arrives_as_it_left(lab, code):
    assert status_of(lambda: unary(lab, message(code=code.value[0], message="m"))) == (code, "m")


def test_unimplemented_method(lab):
    assert status_of(lambda: unary(lab, b"", "UnimplementedCall"))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_unimplemented_service(lab):
    call = lab.channel.unary_unary("/grpc.testing.UnimplementedService/UnimplementedCall")
    assert status_of(lambda: call(b"", timeout=30))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_cancel_after_begin(lab):
    held = threading.Event()

    def requests():
        held.wait(20)
        yield from ()

    call = lab.channel.stream_unary(SERVICE + "StreamingInputCall").future(requests(), timeout=30)
    call.cancel()
    held.set()
    assert call.cancelled() and call.code() == grpc.StatusCode.CANCELLED


def test_cancel_after_first_response(lab, service):
    done = threading.Event()

    def requests():
        yield message(bytes(27182), sizes=[31415])
        done.wait(20)

    while service.cancelled.acquire(blocking=False):
        pass
    call = duplex(lab, requests())
    assert len(payload_of(next(call))[1]) == 31415
    call.cancel()
    done.set()
    assert status_of(lambda: next(call))[0] == grpc.StatusCode.CANCELLED
    assert service.cancelled.acquire(timeout=20), "the server never learned of it"


def test_timeout_on_sleeping_server(lab):
    call = duplex(lab, iter([message(bytes(27182), sleeps=True)]), timeout=0.5)
    assert status_of(lambda: next(call))[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_concurrent_large_unary(lab):
    call = lab.channel.unary_unary(SERVICE + "UnaryCall")
    futures = [call.future(message(bytes(LARGE_REQUEST), size=LARGE_RESPONSE), timeout=60) for _ in range(50)]
    assert all(len(payload_of(one.result())[1]) == LARGE_RESPONSE for one in futures)


def soak(channel):
    reply = channel.unary_unary(SERVICE + "UnaryCall")(message(bytes(2718), size=3141), timeout=30)
    assert len(payload_of(reply)[1]) == 3141


def test_rpc_soak(lab):
    for _ in range(300):
        soak(lab.channel)


def test_channel_soak(lab):
    for _ in range(25):
        with lab.connect() as channel:
            soak(channel)
