"""The adapter in a service: the example with Redis, its restart, its reload, its receipt."""
import json

from support.metrics_lab import parse
from support.pillion_testing import REPOSITORY, http_get, requires_root, wait_until
from support.sanitizers import sanitizer_of

SEND = "echo -n '{}' > /dev/udp/127.0.0.1/8125"


@requires_root
def test_the_example_shows_redis_and_statsd_at_the_services_own_address(services):
    text = (REPOSITORY / "examples" / "metrics.toml").read_text()
    text = text.replace("127.0.0.1:9464", "127.0.0.1:@port:merged@").replace('period = "5s"', 'period = "200ms"\ntimeout = "200ms"')
    if sanitizer_of("pillion-metrics"):
        text = text.replace('limits = { memory = "32MiB" }\n', "")  # a sanitizer alone needs more
    service = services(text.replace('name = "metrics"\n', "", 1)).start()

    def sample(name, **labels):
        page = http_get(f"http://127.0.0.1:{service.port('merged')}/metrics").body.decode()
        found = [value for (each, pairs), value in parse(page).items()
                 if each == name and labels.items() <= dict(pairs).items()]
        return found[0] if found else None

    def in_app(command):
        assert service.command("exec", "--no-tty", service.name, "app", "--", "bash", "-c", command).returncode == 0

    in_app("redis-cli set a 1")
    in_app(SEND.format("worker.mail.jobs:3|c"))
    service.wait_for(lambda: sample("redis_db_keys", db="db0") == 1, what="Redis' keys")
    service.wait_for(lambda: sample("worker_jobs_total", queue="mail", child="metrics") == 3, what="the counter")
    assert sample("pillion_metrics_source_up", source="redis") == 1

    # The sockets are the keeper's: what is sent while the adapter is away is taken by the next one.
    before = service.child("metrics")["generation"]
    assert service.command("restart", service.name, "metrics").returncode == 0
    wait_until(lambda: service.child("metrics")["generation"] > before)
    in_app(SEND.format("worker.pdf.jobs:1|c"))
    service.wait_for(lambda: sample("worker_jobs_total", queue="pdf") == 1, what="the counter after the restart")

    # A reload of the service reaches it: no restart, totals stay.
    generation = service.child("metrics")["generation"]
    service.file.write_text(service.file.read_text().replace(
        'period = "200ms"', 'period = "200ms"\nprefix = "cache_"'))
    done = service.command("reload", service.name, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    service.wait_for(lambda: sample("cache_redis_db_keys", db="db0") == 1, what="the new names")
    assert sample("redis_db_keys", db="db0") is None
    assert sample("worker_jobs_total", queue="pdf") == 1
    assert service.child("metrics")["generation"] == generation
    assert service.stop().returncode == 0
    receipt = json.loads((service.state_dir / "last-stop.json").read_text())
    assert receipt["counts_by_child"]["metrics"]["samples_taken"] == 1, receipt
