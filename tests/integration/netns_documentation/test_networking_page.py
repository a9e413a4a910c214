"""docs/networking.md says what the program does: its commands run, its keys are those of the document."""
import json
import re

import pytest

from support.network_lab import Machine
from support.pillion_testing import REPOSITORY, program_directory, requires_root, run

PAGE = (REPOSITORY / "docs" / "networking.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
READER = (REPOSITORY / "netns" / "wanted_json.cc").read_text()
DOCUMENT = PAGE[PAGE.index("### The document"):PAGE.index("## When it does not work")]
KEYS = re.findall(r"^\| `([a-z0-9_.\[\]]+)` \|", DOCUMENT, re.MULTILINE)


def document_with(key, value):
    """A document in which only `key` ("publish[].port") is given beside the service's name."""
    for part in reversed(key.split(".")):
        value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
    return {"service": "a", **value}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_page_is_one_of_the_document(key):
    """A value of the wrong type is refused by the key's own rule, not as an unknown key."""
    result = run(["pillion-netns", "show"], input=json.dumps(document_with(key, {"wrong": []})), check=78)
    assert result.stderr.startswith(f"pillion-netns: {key.replace('[]', '[0]')} must be ")


def test_every_key_of_the_document_is_on_the_page():
    wanted = READER[READER.index("void read_intercept"):READER.index("Json to_json")]
    known = set(re.findall(r'read(?:_\w+)?(?:<\w+>)?\(\s*"(\w+)"', wanted))
    documented = {part.removesuffix("[]") for key in KEYS for part in key.split(".")}
    assert known == documented


@requires_root
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_commands_to_try_work_and_leave_nothing(number):
    with Machine() as machine:
        machine.run(["mkdir", "-p", "/run/netns"])
        before = machine.traces()
        result = machine.run(["sh", "-exc", f"cd /run; PATH={program_directory()}:$PATH\n{BLOCKS[number]}"])
        assert result.stdout
        machine.wait_for_traces(before)


def test_the_page_has_commands_for_every_mode():
    text = "".join(BLOCKS)
    assert len(BLOCKS) == 3
    for word in ("create", "capture", "apply", "verify", "show", "doctor", "remove", "sealed", "netns exec pod"):
        assert word in text, word
