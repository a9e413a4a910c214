"""`pillion-logs explain` and `test`: what they print and how they exit."""
import json
import subprocess

from support.pillion_testing import program


def _run(*arguments, lines=""):
    return subprocess.run([program("pillion-logs"), *arguments], input=lines, capture_output=True, text=True, timeout=30,
                          check=False)


def test_explain_says_format_fields_and_why_not():
    run = _run("explain", "--json", lines='2024-01-15T14:32:01Z INFO a=1 b=two\n{broken\n')
    good, bad = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 1
    assert (good["format"], good["parsed"], good["record"]["a"]) == ("prefixed-logfmt", True, 1)
    assert good["record"]["@timestamp"] == "2024-01-15T14:32:01Z"
    assert (bad["format"], bad["parsed"], bad["record"]["message"]) == ("raw", False, "{broken")
    assert {"format": "json", "error": "not a JSON object"} in bad["tried"]


def test_explain_reads_lines_as_a_configuration_does(workspace):
    config = workspace / "logs.toml"
    config.write_text('[[input]]\nfile = "/nowhere.log"\n\n[[input]]\nstdin = true\nformat = "csv"\npattern = "user,took"\n'
                      '[fields]\nadd = { team = "orders" }\n')
    run = _run("explain", "--config", str(config), "--input", "2", "--json", lines="ann,5\n")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)["record"]
    assert (record["user"], record["took"], record["team"]) == ("ann", 5, "orders")
    missing = _run("explain", "--config", str(config), "--input", "3")
    assert missing.returncode == 78
    assert "there is no input 3" in missing.stderr


def test_a_wrong_format_or_pattern_is_refused():
    unknown = _run("explain", "--format", "nope")
    assert unknown.returncode == 78 and '"nope"' in unknown.stderr
    lacking = _run("test", "--format", "csv", "/dev/null")
    assert lacking.returncode == 78 and "needs `pattern`" in lacking.stderr


def test_files_are_measured(workspace):
    log = workspace / "app.log"
    log.write_text('{"a":1}\n' * 100 + "no json\n" * 2)
    run = _run("test", "--json", str(log))
    assert run.returncode == 1, run.stderr
    (row,) = json.loads(run.stdout)["formats"]
    assert (row["format"], row["lines"], row["parsed"], row["failed"]) == ("json", 102, 100, 2)
    assert [failure["line"] for failure in row["failures"]] == [101, 102]
    assert row["megabytes_per_second"] > 0
    assert _run("test", str(workspace / "absent.log")).returncode == 71
