"""docs/networking.md says what the program does: its commands run, its keys are those of the document."""
import json
import re

import pytest

from support.network_lab import Machine
from support.pillion_testing import REPOSITORY, program_directory, requires_root, run

PAGE = (REPOSITORY / "docs" / "networking.md").read_text()
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
def test_the_commands_to_try_work_and_leave_nothing():
    commands = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL).group(1)
    with Machine() as machine:
        before = machine.traces()
        result = machine.run(["sh", "-exc", f"cd /run; PATH={program_directory()}:$PATH\n{commands}"])
        assert '"is_pinned": true' in result.stdout
        machine.wait_for_traces(before)
