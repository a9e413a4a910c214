"""What happens while capture or the proxy is not there."""
import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import requires_root, unique_name

pytestmark = requires_root

APP = 10001


@pytest.fixture
def hosts():
    with Machine("a") as a, Machine("b") as b, connect_by_bridge([a, b]):
        yield a, b


def create(machine, method="redirect", policy="closed"):
    wanted = {"service": unique_name("bare"),
              "intercept": {"inbound_ports": [8080], "inbound_method": method, "when_proxy_down": policy}}
    return wanted, machine.create_service(wanted)


def test_before_capture_the_app_is_direct_and_virtual_addresses_are_refused_at_once(hosts):
    a, b = hosts
    wanted, _ = create(a)
    with b.listen("", 0, ["0.0.0.0:80", "[::]:80"]):
        assert a.dial(wanted["service"], APP, "192.0.2.2", 80)["port"] == 80
        assert a.dial(wanted["service"], APP, "2001:db8::2", 80)["port"] == 80
    assert a.dial(wanted["service"], APP, "240.240.0.1", 80) == {"error": "unreachable"}


def test_captured_connections_are_refused_while_the_proxy_is_gone_and_direct_after_uncapture(hosts):
    a, b = hosts
    wanted, _ = create(a)
    name = wanted["service"]
    a.netns("capture", wanted)
    with b.listen("", 0, ["0.0.0.0:80"]):
        assert a.dial(name, APP, "192.0.2.2", 80) == {"error": "refused"}
        a.netns("uncapture", name)
        assert a.dial(name, APP, "192.0.2.2", 80)["port"] == 80
        a.netns("uncapture", name)


@pytest.mark.parametrize(("method", "policy", "outcome"), [
    ("redirect", "closed", {"error": "refused"}), ("tproxy", "closed", {"error": "refused"}), ("tproxy", "open", 8080)])
def test_inbound_without_the_proxy_is_refused_or_by_tproxy_let_through(hosts, method, policy, outcome):
    a, _ = hosts
    wanted, facts = create(a, method, policy)
    a.netns("capture", wanted)
    with a.listen(wanted["service"], APP, ["0.0.0.0:8080", "[::]:8080"]):
        for address in (facts["address4"], facts["address6"]):
            reply = a.dial("", 0, address, 8080)
            assert reply == outcome or reply.get("port") == outcome

