"""docs/logs/*.md tell the truth: every `console` block is run, section by section, and prints what it says.

`$` begins a command (a here-document goes on to its end); of the lines below, each must come in the output, in order; `…`
stands for anything. A fence with `file=NAME` is written first. Ports are replaced by free ones.
"""
import os
import re

import pytest

from support.pillion_testing import REPOSITORY, free_port, program_directory, run

PAGES = sorted((REPOSITORY / "docs" / "logs").glob("*.md"))
FENCE = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PORTS = {"9200", "3100", "4318", "8087", "5514", "5515", "9465", "9001"}


def sections(page):
    """[(title, text)] by headings of the second level."""
    parts = re.split(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    return [("", parts[0]), *zip(parts[1::2], parts[2::2])]


CASES = [pytest.param(page, title, text, id=f"{page.stem}:{title or 'top'}") for page in PAGES
         for title, text in sections(page) if "```console" in text]


def steps(block):
    """[(command, wanted lines)]"""
    result, end = [], None
    for text in block.splitlines():
        if end is not None:
            result[-1][0] += "\n" + text
            end = None if text == end else end
        elif text.startswith("$ "):
            result.append([text[2:], []])
            here = re.search(r"<<'?(\w+)'?$", text)
            end = here and here[1]
        else:
            result[-1][1].append(text)
    return result


def is_in_order(wanted, printed):
    lines = iter(printed)
    patterns = [re.compile(".*".join(map(re.escape, text.split("…")))) for text in wanted]
    return all(any(pattern.fullmatch(text) for text in lines) for pattern in patterns)


@pytest.mark.parametrize("page, title, text", CASES)
def test_what_a_section_says_is_what_happens(workspace, page, title, text):
    if title == "journald" and not os.path.exists("/lib/systemd/systemd-journal-remote"):
        pytest.skip("systemd-journal-remote is not installed")
    ports = {port: str(free_port()) for port in PORTS}

    def with_ports(text):
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda match: ports[match[1]], text)

    for kind, name, body in FENCE.findall(page.read_text()):
        if name:
            (workspace / name).write_text(body)
    script, wanted = ["export PILLION_LOG_LEVEL=info"], []
    for number, (kind, name, block) in enumerate(FENCE.findall(text)):
        if kind != "console":
            continue
        for command, lines in steps(with_ports(block)):
            script += [command, f"echo '--- {len(wanted)}'"]
            wanted.append((command, lines))
    env = {"PATH": f"{program_directory()}:{os.environ['PATH']}", "PILLION_STATE_DIR": workspace / "state",
           "PILLION_LOG_FORMAT": "text"}
    done = run(["/bin/bash", "-c", "\n".join(script)], env=env, cwd=workspace, timeout=60)
    printed = re.split(r"^--- \d+\n", done.stdout, flags=re.MULTILINE)
    assert len(printed) == len(wanted) + 1, done.stdout + done.stderr
    for (command, lines), output in zip(wanted, printed):
        assert is_in_order(lines, output.splitlines()), f"$ {command}\nprints\n{output}\nnot\n" + "\n".join(lines) + \
            f"\n{done.stderr}"


def test_every_input_format_and_output_has_a_section_with_a_command():
    schema = (REPOSITORY / "config" / "logs.h").read_text()
    formats = re.findall(r'LogFormat::\w+, "([\w-]+)"', schema)
    sections_of = {page.stem: {title for title, text in sections(page) if "```console" in text} for page in PAGES}
    titles = {name for title in sections_of["formats"] for name in title.split(", ")}
    assert len(formats) > 20 and set(formats) <= titles
    assert {"file", "child", "fifo", "syslog", "syslog_socket", "journald", "stdin"} <= sections_of["inputs"]
    assert {"stdout", "file", "elasticsearch", "loki", "otlp", "http", "syslog", "kafka", "s3"} <= sections_of["outputs"]
    presets = set(re.findall(r'Multiline::\w+, "([\w-]+)"', schema)) - {"none"}
    assert presets <= {name for title in sections_of["multiline"] for name in title.split(", ")}
