"""A bridged service is reloaded under load: its proxy takes over what it can, is replaced for the rest, and the rules of
capture change, and nobody is turned away."""
import json
import os
import subprocess

import pytest

from support.deploy_lab import Load, prepare, toml_of
from support.pillion_testing import http_get, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a bridged service needs root")


def proxy_of(service):
    child = service.child("proxy")
    return child["pid"], child["generation"]


def reload(service, *replacements):
    text = service.file.read_text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    service.file.write_text(text)
    result = service.command("reload", service.name, "--wait")
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def capture_rules(service):
    command = ["ip", "netns", "exec", f"pillion-{service.name}", "nft", "list", "ruleset"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_proxy_published_ports_and_rules_change_under_load(services):
    text = toml_of("bridged").replace('"{port}"', '"8080"').replace('"{port.echo}"', '"9000"')
    service = prepare(services(text))  # whose app is not told its ports
    service.start()
    app, first = service.child("app")["pid"], proxy_of(service)
    load = Load(service.port("web"))
    load.wait_for(1)
    # What the proxy takes over: the process stays.
    reload(service, ('use = "proxy"', 'use = "proxy"\n        [sidecar.proxy.config.upstream.pay]\n        address = ["127.0.0.1:9"]'))
    assert proxy_of(service) == first
    load.wait_for(1)
    # A further published port needs its socket: the proxy is replaced, the first socket stays.
    web, more = service.port("web"), service.port("more")
    published = f'"127.0.0.1:{web}:8080"'
    reload(service, (published, f'{published}, "127.0.0.1:{more}:8080"'))
    assert proxy_of(service)[1] == first[1] + 1 and proxy_of(service)[0] != first[0]
    assert http_get(f"http://127.0.0.1:{more}/version").status == 200
    load.wait_for(1)
    # The list of what is captured: the rules are loaded anew, no process is touched.
    second = proxy_of(service)
    assert "4321" not in capture_rules(service)
    reload(service, ("[app]", "[network.intercept]\n        exclude_outbound_ports = [4321]\n        [app]"))
    wait_until(lambda: "4321" in capture_rules(service), what="the new rules")
    assert proxy_of(service) == second
    # A port that the app declares is captured from then on, too.
    reload(service, ('{ name = "echo"', '{ name = "late", port = 7777, protocol = "tcp" }, { name = "echo"'))
    load.wait_for(1)
    # And back: the port is not published any more.
    reload(service, (f'{published}, "127.0.0.1:{more}:8080"', published))
    with pytest.raises(OSError):
        http_get(f"http://127.0.0.1:{more}/version")
    load.wait_for(1)
    # No answer is wrong and nobody is turned away.
    assert load.stop() == []
    assert service.child("app")["pid"] == app
    events = [json.loads(line)["kind"] for line in service.command("events", service.name, "--json").stdout.splitlines()]
    assert events.count("reload_finished") == 5
    assert service.stop().returncode == 0
