"""Finds what one service left on the machine: namespace, links, nft tables, cgroups, mounts, processes, files.

Only things that carry the service's (unique) name are looked at, so scenarios may run beside each other and
beside services that are none of ours. Read-only: it removes nothing.
"""
import json
import os
import shutil
import subprocess
import time
from pathlib import Path


def processes_of(name):
    """Pids of living processes that belong to the service, by environment or by cgroup."""
    found = []
    marker = f"PILLION_SERVICE={name}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            groups = Path(f"/proc/{entry}/cgroup").read_text()
        except OSError:
            continue
        if marker in environment or _names(groups, name):
            found.append(int(entry))
    return found


def find_leaks(name, runtime_parent=None, host_links=()):
    """Sentences, one per thing that is left of service `name`."""
    left = []
    left += _namespaces(name)
    left += [f"link {link}" for link in sorted(host_links) if Path(f"/sys/class/net/{link}").exists()]
    left += _nft_tables(name)
    left += [f"cgroup {path}" for path in _cgroups(name)]
    left += [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines()
             if _names(line, name)]
    left += [f"process {pid}: {_command_line(pid)}" for pid in processes_of(name)]
    if runtime_parent:
        left += _runtime_files(Path(runtime_parent) / name)
    return left


def wait_for_no_leaks(find, seconds=5):
    """Asks `find` until it finds nothing: the kernel removes namespaces and veths a moment after the
    last user has gone. Returns what was left at the end."""
    deadline = time.monotonic() + seconds
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _names(text, name):
    """True when `text` holds the name as a whole word of a path or unit name."""
    return f"pillion-{name}" in text or f"/{name}" in text or f"pillion@{name}" in text


def _namespaces(name):
    path = Path("/run/netns") / f"pillion-{name}"
    return [f"network namespace {path}"] if path.exists() else []


def _nft_tables(name):
    wanted = f"pillion_{name}".replace("-", "_")
    if not shutil.which("nft") or os.geteuid() != 0:
        return []
    result = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True, timeout=30)
    if result.returncode != 0:
        return []
    tables = [entry["table"] for entry in json.loads(result.stdout)["nftables"] if "table" in entry]
    return [f"nft table {table['family']} {table['name']}" for table in tables
            if table["name"] == wanted]


def _cgroups(name):
    for root, directories, _ in os.walk("/sys/fs/cgroup"):
        for directory in directories:
            if directory in (name, f"pillion-{name}", f"pillion@{name}.service"):
                yield os.path.join(root, directory)


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(gone)"


def _runtime_files(directory):
    """Files left in the runtime directory; the lock file may stay (removing it would be a race)."""
    registered = directory.parent / ".services" / directory.name
    if registered.exists():
        return [f"entry of the services that can be called {registered}"]
    if not directory.exists():
        return []
    return [f"runtime file {path}" for path in sorted(directory.rglob("*")) if path.name != "lock"]
