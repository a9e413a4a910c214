"""pillion-netns in a Pod's own namespace: told by flags (also by Istio's), annotations or a dry run; as an init container."""
import json

import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import program, requires_root

pytestmark = requires_root

PROXY, APP = 1337, 10001
# What Istio's injector gives its init container (istio.io, "istio-init"), word for word.
ISTIO_INIT = ["-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*",
              "-d", "15090,15021,15020"]


@pytest.fixture
def pod():
    with Machine("pod") as held:
        yield held


def netns(pod, *words, check=0):
    return pod.run([program("pillion-netns"), *words], check=check)


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_the_command_line_of_istio_init_captures_as_it_does_there(pod, backend):
    before = pod.traces()
    with Machine("b") as b, connect_by_bridge([pod, b]):
        with_bridge = pod.traces()
        said = json.loads(netns(pod, "apply", *ISTIO_INIT, "--backend", backend).stdout)
        assert said["capture"]["backend"] == backend
        with pod.listen("", PROXY, ["127.0.0.1:15001", "[::1]:15001", "0.0.0.0:15006", "[::]:15006"]), \
                pod.listen("", APP, ["0.0.0.0:8080", "0.0.0.0:15021"]), b.listen("", 0, ["0.0.0.0:80", "[::]:80"]):
            for remote in ("192.0.2.2", "2001:db8::2"):
                assert pod.dial("", APP, remote, 80)["port"] == 15001
                assert pod.dial("", PROXY, remote, 80)["port"] == 80
            assert b.dial("", 0, "192.0.2.1", 8080)["port"] == 15006
            assert b.dial("", 0, "192.0.2.1", 4242)["port"] == 15006  # every port, as "*" says
            assert b.dial("", 0, "192.0.2.1", 15021)["port"] == 15021
            assert pod.dial("", APP, "127.0.0.1", 8080)["port"] == 8080
            netns(pod, "verify", "--pod")
        netns(pod, "remove", "--pod")
        netns(pod, "verify", "--pod", check=1)
        pod.wait_for_traces(with_bridge)
    pod.wait_for_traces(before)


def test_annotations_are_taken_from_the_downward_api(pod):
    pod.run(["sh", "-c", "echo 'traffic.sidecar.istio.io/excludeOutboundPorts=\"5432,6379\"' > /run/annotations"])
    rules = netns(pod, "apply", "--annotations", "/run/annotations", "--inbound-ports", "8080", "--dry-run").stdout
    assert "elements = { 5432, 6379 }" in rules
    assert "elements = { 8080 }" in rules


def test_a_dry_run_prints_the_rules_of_either_backend_and_changes_nothing(pod):
    before = pod.traces()
    assert "table inet pillion_pod {" in netns(pod, "apply", "--pod", "--dry-run").stdout
    text = netns(pod, "apply", "--backend", "iptables", "--dry-run").stdout
    assert "# ip6tables-restore --noflush" in text and "--to-ports 15001" in text
    pod.wait_for_traces(before)


def test_a_wrong_flag_is_named(pod):
    assert netns(pod, "apply", "--inbound-ports", "http", check=78).stderr == (
        "pillion-netns: --inbound-ports: 'http' is not a port, or * for all\n")


def test_another_namespace_by_its_path(pod):
    pod.run(["ip", "netns", "add", "other"])
    netns(pod, "apply", "--network-namespace", "/run/netns/other", "--inbound-ports", "8080")
    assert "table inet pillion_pod" in pod.output(["ip", "netns", "exec", "other", "nft", "list", "tables"])
    assert "pillion" not in pod.output(["nft", "list", "tables"])
    netns(pod, "remove", "--network-namespace", "/run/netns/other")
    assert pod.output(["ip", "netns", "exec", "other", "nft", "list", "tables"]) == ""


@pytest.mark.parametrize("missing", ["nftables", "tproxy"])
def test_a_kernel_that_lacks_a_feature_is_served_by_the_next_best_and_told(pod, missing):
    document = json.dumps({"service": "poor", "mode": "host", "intercept": {"inbound_ports": [8080]}})
    with pod.listen("", PROXY, ["0.0.0.0:15006"], "--transparent"):
        result = pod.run(["env", f"PILLION_NETNS_FAULT=without:{missing}", program("pillion-netns"), "capture"],
                         stdin=document)
    choice = json.loads(result.stdout)
    assert (choice["backend"], choice["inbound_method"]) == (
        ("iptables", "redirect") if missing == "nftables" else ("nftables", "redirect"))
    reason = choice["backend_reason" if missing == "nftables" else "inbound_reason"]
    assert reason.startswith(f"{missing} does not work here: ")
    pod.run(["env", f"PILLION_NETNS_FAULT=without:{missing}", program("pillion-netns"), "remove"], stdin=document)


def test_changing_the_backend_leaves_no_rules_of_the_other(pod):
    def capture(backend):
        document = {"service": "change", "mode": "host", "intercept": {"inbound_ports": [8080], "backend": backend}}
        pod.netns("capture", document)
        return json.loads(pod.netns("show", document).stdout)["capture_rules"]

    before = pod.traces()
    for backend in ("nftables", "iptables", "nftables"):
        rules = capture(backend)
        assert rules.startswith("table inet" if backend == "nftables" else "# IPv4 iptables")
    assert "table ip nat" not in pod.output(["nft", "list", "tables"])
    pod.netns("remove", {"service": "change", "mode": "host"})
    pod.wait_for_traces(before)
