"""A host beyond the test's machine, for services that `pillion run` starts on the machine itself.

It is another namespace, joined by a veth pair whose addresses (of the documentation and benchmark ranges) differ per
test. `from support.remote_host import remote` makes the fixture known to a scenario.
"""
import ipaddress
import subprocess
from pathlib import Path

import pytest

from support.network_lab import PROBE, Machine
from support.pillion_testing import PYTHON, http_get, run, unique_name, wait_until


@pytest.fixture
def remote():
    """A host beyond the machine with an HTTP server on port 80 (IPv4), and one that speaks first on port 81 (IPv6)."""
    number = int(unique_name("n")[-4:], 36) % 16000
    link = ipaddress.ip_address("198.18.0.0") + 4 * number
    here4, there4 = str(link + 1), str(link + 2)
    here6, there6 = f"2001:db8:{number:x}::1", f"2001:db8:{number:x}::2"
    end = f"nst{number}"
    with Machine("remote") as machine:
        run(["ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)], check=0)
        try:
            for address in (f"{here4}/30", f"{here6}/64"):
                run(["ip", "address", "add", address, "dev", end, *(["nodad"] if ":" in address else [])], check=0)
            run(["ip", "link", "set", end, "up"], check=0)
            for address in (f"{there4}/30", f"{there6}/64"):
                machine.run(["ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else [])])
            machine.run(["ip", "link", "set", "eth0", "up"])
            app = Path(PROBE).parent / "http_app.py"
            # No default route: the server looks its own address up, and must be told at once that there is no DNS.
            server = subprocess.Popen(machine.argv([PYTHON, app, "--port", "80", "--address", there4]),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            echo = machine.listen("", 0, [f"[{there6}]:81"])
            machine.v4, machine.v6, machine.host4 = there4, there6, here4
            try:
                wait_until(lambda: http_get(f"http://{there4}/healthz").status == 200, 10, "the remote server")
                yield machine
            finally:
                server.kill()
                server.wait()
                echo.__exit__()
        finally:
            run(["ip", "link", "delete", end], check=0)
