"""Programs that others wrote to load servers, to starve them, and to judge their TLS: h2load, slowhttptest, testssl.sh.

Each runs for seconds here. PILLION_TEST_LONG=1 gives slowhttptest a minute and testssl.sh all of its checks.
"""
import json
import os
import re
import shutil
import subprocess

import pytest

from support.http2_lab import Http2Client
from support.pillion_testing import HttpApp
from support.proxy_lab import ProxyLab, upstream
from support.tls_lab import Authority

IS_LONG = os.environ.get("PILLION_TEST_LONG") == "1"


def needs(program, package):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{package} is not installed")


def run(*words, timeout=60, cwd=None):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, errors="replace", timeout=timeout,
                          check=False, cwd=cwd, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def app():
    with HttpApp() as one:
        yield one


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tools") / "ca").issue("orders", uris=["spiffe://prod/orders"], dns=["localhost"])


class TlsLab(ProxyLab):
    """The app's port behind TLS that asks for no client certificate."""

    def __init__(self, directory, identity, app_port, **options):
        super().__init__(directory, identity.table(), app_port=app_port, explicit='upstream = ""', **options)

    def write(self, config):
        self.text = self.text.replace("[inbound]\n", '[inbound]\nmutual_tls = "strict"\nrequire_client_certificate = false\n')
        super().write(config)


@needs("h2load", "nghttp2-client")
@pytest.mark.parametrize("options", [["--h1"], ["-m", "32"], ["-m", "64", "-w", "14", "-W", "14"], ["-m", "1"]], ids=" ".join)
def test_h2load_gets_every_answer(workspace, app, options):
    path = workspace / "body"
    path.write_bytes(b"b" * 3000)
    with ProxyLab(workspace, upstream(app.port)) as proxy:
        for method in ([], ["-d", path]):
            _, output = run("h2load", "-n", "600", "-c", "15", *options, *method, proxy.url(path="/echo"))
            found = re.search(r"requests: 600 total, 600 started, 600 done, 600 succeeded, 0 failed, 0 errored", output)
            assert found and "600 2xx, 0 3xx, 0 4xx, 0 5xx" in output, output
        assert sum(proxy.metric("pillion_proxy_requests_total").values()) == 1200


@needs("h2load", "nghttp2-client")
@pytest.mark.parametrize("options", [["--h1"], ["-m", "32"]], ids=" ".join)
def test_h2load_gets_every_answer_over_tls(workspace, app, identity, options):
    with TlsLab(workspace, identity, app.port) as proxy:
        _, output = run("h2load", "-n", "600", "-c", "15", *options, f"https://127.0.0.1:{proxy.ports['publish']}/bytes/2000")
        assert "600 succeeded, 0 failed, 0 errored" in output, output


ATTACKS = {
    "slow headers": ["-H", "-i", "1", "-x", "16"],
    "slow bodies": ["-B", "-i", "1", "-s", "8192", "-x", "10"],
    "slow readers": ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "3"],
    "ranges": ["-R", "-a", "10", "-b", "3000"],
}


@needs("slowhttptest", "slowhttptest")
@pytest.mark.parametrize("attack", ATTACKS)
def test_slowhttptest_holds_nobody_up(workspace, app, attack):
    """Its own probe, once a second, is answered throughout; the slow connections are cut off in their time."""
    seconds = 60 if IS_LONG else 4
    config = upstream(app.port) + '[timeouts]\nrequest_headers = "1s"\nstream_idle = "1500ms"\n'
    with ProxyLab(workspace, config) as proxy:
        path = "/bytes/200000" if attack == "slow readers" else "/echo"
        before = proxy.memory_kib()
        _, output = run("slowhttptest", *ATTACKS[attack], "-c", "200", "-r", "200", "-l", seconds, "-p", "2", "-g", "-o", workspace / "slow",
                        "-u", proxy.url(path=path), timeout=seconds + 60)
        rows = (workspace / "slow.csv").read_text().splitlines()
        columns = rows[0].replace('"', "").split(",")
        availability = [int(row.split(",")[columns.index("Service Available")]) for row in rows[1:]]
        assert availability and all(availability), (rows, output[-2000:])
        with Http2Client(proxy.ports["explicit"]) as other:
            assert other.request(path="/bytes/1").status == 200
        assert proxy.has_grown_less(before, kib=64 << 10)


FORBIDDEN = ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN")
# What testssl.sh minds and a sidecar has its reasons for, by its ids.
ACCEPTED = {
    "cert_chain_of_trust": "the test's own authority", "cert_trust": "the test's own authority",
    "cert_caIssuers": "the test's own authority", "cert_revocation": "workload certificates live for hours",
    "cert_crlDistributionPoints": "the same", "cert_ocspURL": "the same", "OCSP_stapling": "the same", "DNS_CAArecord": "no public name",
    "certificate_transparency": "no public certificate", "cert_extlifeSpan": "the test's own authority",
    "cert_expirationStatus": "ten days, made for the test", "cert_notAfter": "the same", "cert_serialNumberLen": "made for the test",
    "scanProblem": "testssl.sh about itself", "engine_problem": "testssl.sh about itself", "HSTS": "for browsers",
    "HTTP_clock_skew": "the app's", "banner_server": "the app's", "security_headers": "the app's",
    "BREACH": "compression is the app's", "LUCKY13": "testssl.sh knows it by CBC, of which none is offered",
}


@needs("testssl", "testssl.sh")
def test_testssl_has_nothing_to_complain_of(workspace, app, identity):
    checks = [] if IS_LONG else ["--fast", "--protocols", "--std", "--renegotiation", "--crime"]
    report = workspace / "report.json"
    with TlsLab(workspace, identity, app.port) as proxy:
        _, output = run("testssl", "--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1",
                        "--jsonfile", report, *checks, f"localhost:{proxy.ports['publish']}", timeout=600, cwd=workspace)
    assert report.exists(), output[-3000:]
    found = {one["id"]: one for one in json.loads(report.read_text())}
    assert found["TLS1_2"]["severity"] == "OK" and found["TLS1_3"]["severity"] == "OK", output[-3000:]
    for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        assert found[name]["finding"].startswith("not offered"), found[name]
    bad = [one for one in found.values() if one["severity"] in FORBIDDEN and one["id"].split()[0] not in ACCEPTED]
    assert not bad, bad
