"""What shells and scripts see of `pillion`: completion, exit codes, colour, JSON."""
import json
import os
import pty
import re
import shutil
import subprocess

import pytest

from support.pillion_testing import REPOSITORY, program, run

SERVICE = '''
    [network]
    mode = "host"
    [sidecar.helper]
    command = ["/bin/sleep", "1000"]
    [app]
    command = ["/bin/sleep", "1000"]
'''


def complete(script, service, *words):
    """What bash offers for the last of `words`, with the script really loaded."""
    line = " ".join(words)
    program_directory = os.path.dirname(program("pillion"))
    ask = f'''
        set -u
        source "{script}"
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        COMP_LINE='{line}'; COMP_POINT={len(line)}
        _pillion
        printf '%s\\n' "${{COMPREPLY[@]}}"
    '''
    env = {**os.environ, **{key: str(value) for key, value in service.env.items()},
           "PATH": f"{program_directory}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", ask], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_services_and_children(services):
    service = services(SERVICE).start()
    script = service.directory / "pillion.bash"
    script.write_text(run(["pillion", "completion", "bash"], check=0).stdout)
    assert set(complete(script, service, "pillion", "re")) >= {"reload", "restart", "retry"}
    assert "supervise" not in complete(script, service, "pillion", ""), "what is hidden stays hidden"
    assert complete(script, service, "pillion", "status", "") == [service.name]
    assert set(complete(script, service, "pillion", "why", service.name, "")) == {"helper", "app"}
    assert complete(script, service, "pillion", "stop", service.name, "--gr") == ["--grace"]
    assert complete(script, service, "pillion", "stop", "--grace", "5s", service.name[:4]) == [service.name]
    files = complete(script, service, "pillion", "check", str(service.file)[:-3])
    assert files == [str(service.file)]


def test_every_command_is_completed_in_every_shell():
    usage = run(["pillion", "--help"], check=0).stdout
    section = usage[usage.index("Subcommands:"):usage.index("Examples:")]
    commands = [line.split()[0] for line in section.splitlines()[1:] if line.startswith("  ") and line[2] != " "]
    assert len(commands) > 15
    for shell in ("bash", "zsh", "fish"):
        script = run(["pillion", "completion", shell], check=0).stdout
        missing = [name for name in commands if name not in script]
        assert not missing, (shell, missing)


def test_the_manual_names_every_command_and_every_option():
    manual = (REPOSITORY / "packaging" / "man" / "pillion.8").read_text()
    usage = run(["pillion", "completion", "bash"], check=0).stdout
    for line in usage.splitlines():
        found = re.match(r"    ([a-z]+)\) options=\"([^\"]*)\"", line)
        if not found:
            continue
        command, options = found.groups()
        entry = re.search(rf"^\.It Cm {command}\b.*$", manual, re.MULTILINE)
        assert entry, f"packaging/man/pillion.8 has no {command}"
        if "OPTION" in entry.group():
            continue  # it says where the options are listed
        for option in set(options.split()) - {"--help", "-h", "--now"}:
            flag = "Fl Fl " + option[2:] if option.startswith("--") else "Fl " + option[1:]
            assert re.search(rf"{flag}\b", entry.group()), f"{command} {option} is not in the manual"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_right_for_their_shell(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / f"pillion.{shell}"
    script.write_text(run(["pillion", "completion", shell], check=0).stdout)
    flag = "--no-execute" if shell == "fish" else "-n"
    checked = subprocess.run([shell, flag, str(script)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0 and checked.stderr == "", checked.stderr


def test_exit_codes_say_what_went_wrong(services):
    service = services(SERVICE).start()
    assert service.command("status", service.name).returncode == 0
    assert service.command("status", "nobody-here").returncode == 3, "does not run"
    assert service.command("restart", service.name, "nobody").returncode == 1, "refused"
    assert service.command("stop").returncode == 64, "wrong use"
    assert service.command("frobnicate").returncode == 64
    bad = service.directory / "bad.toml"
    bad.write_text("[app]\ncomand = 3\n")
    assert service.command("check", bad).returncode == 78, "bad configuration"
    assert service.command("run", bad).returncode == 78


def on_a_terminal(service, words, extra):
    """Output of a command whose stdout is a terminal."""
    master, slave = pty.openpty()
    env = {**os.environ, **{key: str(value) for key, value in service.env.items()}, "TERM": "xterm", **extra}
    env = {key: value for key, value in env.items() if value is not None}
    subprocess.run([program("pillion"), *words], stdout=slave, stderr=slave, stdin=slave, env=env, timeout=30,
                   check=True)
    os.close(slave)
    text = b""
    try:
        while chunk := os.read(master, 65536):
            text += chunk
    except OSError:
        pass  # the terminal is gone: that was all
    os.close(master)
    return text.decode()


def test_colour_is_for_terminals_that_want_it(services):
    service = services(SERVICE).start()
    words = ["status", service.name]
    assert "\033[" in on_a_terminal(service, words, {"NO_COLOR": None})
    assert "\033[" not in on_a_terminal(service, words, {"NO_COLOR": "1"})
    assert "\033[" not in on_a_terminal(service, words, {"NO_COLOR": None, "TERM": "dumb"})
    assert "\033[" not in service.command(*words).stdout


def test_every_command_that_tells_something_tells_it_as_json(services):
    service = services(SERVICE).start()
    name, file = service.name, service.file
    for words in (["ps"], ["status", name], ["why", name], ["plan", name], ["reload", name], ["timeline", name],
                  ["check", file], ["config", file], ["restart", name, "helper", "--wait"],
                  ["stop", name, "helper"], ["start", name, "helper"], ["clean", "--dry-run", name + "x"]):
        done = service.command(*words, "--json")
        assert done.returncode == 0, (words, done.stderr)
        assert isinstance(json.loads(done.stdout), (dict, list)), words
    for words in (["events", name], ["logs", name]):
        done = service.command(*words, "--json")
        assert done.returncode in (0, 1), (words, done.stderr)  # 1: no child has written anything
        for line in done.stdout.splitlines():
            assert isinstance(json.loads(line), dict), words
    effective = json.loads(service.command("config", file, "--json").stdout)
    assert effective["app"]["command"] == ["/bin/sleep", "1000"]
    assert json.loads(service.command("stop", name, "--json").stdout)["exit_code"] == 143
