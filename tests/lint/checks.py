"""The rules of the code base that a machine can hold. Each check takes a tree (a directory) and returns
sentences that start with `path:line:`; none means that the rule holds. test_lint.py runs them on the
repository, test_checks.py proves on small bad trees that each of them can fail.

Reads files and runs clang-format, shellcheck and ldd; changes nothing.
"""
import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

# Who may include whom. The longest matching folder decides; tests may include everything.
MAY_INCLUDE = {
    "runtime": ["runtime"],
    "config": ["config", "runtime"],
    "netns": ["netns", "config", "runtime"],
    "supervisor": ["supervisor", "config", "netns", "runtime"],
    "supervisor/core": ["supervisor/core", "config", "runtime"],
    "supervisor/keeper": ["supervisor/keeper"],
    "supervisor/usage": ["supervisor/usage", "config", "runtime"],
    "proxy": ["proxy", "config", "netns", "runtime"],
    "adapters/logs": ["adapters/logs", "config", "netns", "runtime"],
    "adapters/metrics": ["adapters/metrics", "config", "netns", "runtime"],
    "ambassadors/secrets": ["ambassadors/secrets", "config", "netns", "runtime"],
    "ambassadors/egress": ["ambassadors/egress", "proxy", "config", "netns", "runtime"],
}
PRODUCT = sorted({folder.split("/")[0] for folder in MAY_INCLUDE})
FORBIDDEN_STEMS = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
FORBIDDEN_LIBRARIES = {
    "pillion": ["libcurl", "libssl", "libcrypto", "libnftables", "libyaml-cpp"],
}
KEEPER_LIBRARIES = ["linux-vdso", "ld-linux", "libc.so", "libm.so", "libgcc_s", "libstdc++"]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
MAIN_LINES_MAX = 100
SKIPPED_FOLDERS = {"build", "__pycache__", "node_modules"}
SHEBANG_SHELL = re.compile(r"^#!.*\b(sh|bash|dash)\b")
REASON = re.compile(r"\blong(er)?\b.*\bbecause\b", re.IGNORECASE)


def files(tree, *suffixes):
    """Paths relative to `tree`, sorted; hidden folders (but .ci) and build trees left out."""
    found = []
    for root, directories, names in os.walk(tree):
        directories[:] = [name for name in directories
                          if name not in SKIPPED_FOLDERS and (not name.startswith(".") or name == ".ci")]
        found += [Path(root, name).relative_to(tree) for name in names
                  if not suffixes or name.endswith(suffixes)]
    return sorted(found)


def cpp_files(tree, product_only=False):
    found = files(tree, ".cc", ".h")
    return [path for path in found if path.parts[0] in PRODUCT] if product_only else found


def _lines(tree, path):
    try:
        return (Path(tree) / path).read_text().splitlines()
    except UnicodeDecodeError:
        return []


def _is_below(path, folder):
    return path == folder or path.startswith(folder + "/")


def check_borders(tree):
    """An #include that climbs, or goes sideways to another program."""
    problems = []
    for path in cpp_files(tree, product_only=True):
        folder = max((name for name in MAY_INCLUDE if _is_below(path.parent.as_posix(), name)), key=len,
                     default=None)
        if folder is None:
            problems.append(f"{path}:1: belongs to no folder of the design")
            continue
        for number, line in enumerate(_lines(tree, path), 1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            if ".." in target.split("/") or "/" not in target:
                problems.append(f'{path}:{number}: "{target}" must be written from the top of the repository')
            elif not any(_is_below(target, allowed) for allowed in MAY_INCLUDE[folder]):
                problems.append(f'{path}:{number}: {folder} must not include "{target}" '
                                f'(it may include {", ".join(MAY_INCLUDE[folder])})')
    return problems


def check_file_names(tree):
    """Names that say nothing about what is inside."""
    return [f"{path}:1: name a file for what it is, not '{path.stem}'" for path in files(tree)
            if path.stem.lower() in FORBIDDEN_STEMS
            or any(part.lower() in FORBIDDEN_STEMS for part in path.parts[:-1])]


def check_leftovers(tree):
    """Notes to oneself that nobody owns."""
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    return [f"{path}:{number}: '{match.group(1)}' needs an owner in the docs, not a note in the code"
            for path in files(tree, ".cc", ".h", ".py", ".sh", ".txt", ".cmake", ".toml", ".md")
            for number, line in enumerate(_lines(tree, path), 1) if (match := words.search(line))]


def first_comment(tree, path):
    """The comment a C++ file opens with (after #pragma once), as one string; empty when there is none."""
    comment = []
    for line in _lines(tree, path):
        text = line.strip()
        if text.startswith("//"):
            comment.append(text.lstrip("/ "))
        elif comment or (text and text != "#pragma once"):
            break
    return " ".join(comment)


def check_first_comments(tree):
    """Every file says first what it is; a .cc may leave that to the header of the same name."""
    described = {path for path in cpp_files(tree) if len(first_comment(tree, path)) >= 10}
    problems = [f"{path}:1: begin with a comment that says what this file is" for path in cpp_files(tree)
                if path not in described and path.with_suffix(".h") not in described]
    for path in files(tree, ".py"):
        lines = _lines(tree, path)
        if lines and not ast.get_docstring(ast.parse("\n".join(lines))):
            problems.append(f"{path}:1: begin with a docstring that says what this file is")
    for path in shell_scripts(tree):
        if not any(line.startswith("# ") for line in _lines(tree, path)[1:3]):
            problems.append(f"{path}:2: begin with a comment that says what this script is")
    return problems


def check_main_files(tree):
    """A main.cc tells the story and does nothing itself."""
    return [f"{path}:{len(lines)}: a main.cc has fewer than {MAIN_LINES_MAX} lines"
            for path in cpp_files(tree) if path.name == "main.cc"
            and len(lines := _lines(tree, path)) >= MAIN_LINES_MAX]


def check_lengths(tree):
    """Long files and functions, unless the first comment gives the reason ("longer than … because …")."""
    problems = []
    for path in cpp_files(tree):
        if REASON.search(first_comment(tree, path)):
            continue
        lines = _lines(tree, path)
        if len(lines) > FILE_LINES_MAX:
            problems.append(f"{path}:{len(lines)}: more than {FILE_LINES_MAX} lines and no reason in the first "
                            "comment (\"longer than … because …\")")
        if path.parts[0] in PRODUCT:
            problems += [f"{path}:{start}: a function of {length} lines and no reason in the first comment"
                         for start, length in cpp_functions(lines) if length > FUNCTION_LINES_MAX]
    for path in files(tree, ".py"):
        parsed = ast.parse("\n".join(_lines(tree, path)))
        problems += [f"{path}:{node.lineno}: a function of {node.end_lineno - node.lineno + 1} lines"
                     for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef)
                     and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX]
    return problems


def cpp_functions(lines):
    """(first line number, length) of blocks that look like functions in clang-formatted code: they open at
    indent 0, or at indent 2 inside a class, and close at the same indent."""
    found = []
    for indent in (0, 2):
        start = None
        pad = " " * indent
        for number, line in enumerate(lines, 1):
            begins = line.startswith(pad) and len(line) > indent and line[indent] not in " }#/"
            if begins and start is None:
                candidate = line.strip()
                if candidate.startswith("template") and candidate.endswith(">"):
                    continue  # the next line says what it is a template of
                if not re.match(r"(namespace|class|struct|enum|union|extern|using|public|private)\b", candidate):
                    start = number
            if start is not None and line.rstrip() in (pad + "}", pad + "};"):
                found.append((start, number - start + 1))
                start = None
            elif start is not None and begins and line.rstrip().endswith(";"):
                start = None
    return [block for block in found if "{" in "".join(lines[block[0] - 1:block[0] + 8])]


def check_format(tree):
    """clang-format decides how C++ looks. None when it is not installed."""
    if not shutil.which("clang-format-14"):
        return None
    names = [str(path) for path in cpp_files(tree)]
    problems = []
    for begin in range(0, len(names), 50):
        result = subprocess.run(["clang-format-14", "--dry-run", *names[begin:begin + 50]], cwd=tree,
                                capture_output=True, text=True, check=False)
        problems += [line for line in result.stderr.splitlines() if "warning:" in line or "error:" in line]
    return problems


def shell_scripts(tree):
    found = []
    for path in files(tree):
        with open(Path(tree) / path, "rb") as file:
            if SHEBANG_SHELL.match(file.readline(80).decode("latin-1")):
                found.append(path)
    return found


def check_shell(tree):
    """shellcheck on every shell script. None when it is not installed."""
    if not shutil.which("shellcheck"):
        return None
    scripts = [str(path) for path in shell_scripts(tree)]
    if not scripts:
        return []
    result = subprocess.run(["shellcheck", "--format=gcc", *scripts], cwd=tree, capture_output=True, text=True,
                            check=False)
    return result.stdout.splitlines()


def _anchor(heading):
    """The anchor GitHub makes of a heading."""
    text = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _without_code(lines):
    """The lines of a Markdown file with fenced blocks and code spans blanked."""
    fenced, result = False, []
    for line in lines:
        if line.lstrip().startswith("```"):
            fenced = not fenced
            line = ""
        result.append("" if fenced else re.sub(r"`[^`]*`", "", line))
    return result


def check_links(tree):
    """Relative links of Markdown files lead somewhere, anchors included."""
    problems = []
    for path in files(tree, ".md"):
        for number, line in enumerate(_without_code(_lines(tree, path)), 1):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                file = (Path(tree) / path.parent / name) if name else Path(tree) / path
                if not file.exists():
                    problems.append(f"{path}:{number}: link to {target}, which does not exist")
                elif anchor and file.suffix == ".md":
                    headings = [_anchor(text.lstrip("# ")) for text in file.read_text().splitlines()
                                if text.startswith("#")]
                    if anchor not in headings:
                        problems.append(f"{path}:{number}: no heading for #{anchor} in {file.name}")
    return problems


def check_globs(tree):
    """CMake lists its sources: a glob hides what is built."""
    return [f"{path}:{number}: list the files, no GLOB" for path in files(tree, "CMakeLists.txt", ".cmake")
            for number, line in enumerate(_lines(tree, path), 1) if re.search(r"\bfile\s*\(\s*GLOB", line)]


def linked_libraries(path):
    """Names of the shared libraries a program needs, as ldd prints them."""
    result = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    if result.returncode != 0 and "not a dynamic" in result.stdout + result.stderr:
        return []
    return [line.split()[0].rsplit("/", 1)[-1] for line in result.stdout.splitlines() if line.split()]


def check_linking(directory):
    """The supervisor stays small, the keeper needs the C and C++ runtime only. `directory` holds programs."""
    problems = []
    for name, forbidden in FORBIDDEN_LIBRARIES.items():
        problems += [f"{name}:1: must not link {library}" for library in linked_libraries(Path(directory) / name)
                     if library.startswith(tuple(forbidden))]
    problems += [f"pillion-keeper:1: must not link {library}"
                 for library in linked_libraries(Path(directory) / "pillion-keeper")
                 if not library.startswith(tuple(KEEPER_LIBRARIES))]
    return problems


def check_promises(repository):
    """docs/lifecycle.md names tests that exist."""
    page = repository / "docs" / "lifecycle.md"
    if not page.exists():
        return []
    there = {f"{path.parent.name}::{name}" for path in (repository / "tests" / "integration").glob("*/test_*.py")
             for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    guest = repository / "tests" / "vm" / "guest" / "guest_tests.py"
    if guest.exists():
        there |= {f"vm::{name}" for name in re.findall(r"^def (test_\w+)", guest.read_text(), re.M)}
    for kind, folder in (("core", "supervisor/core"), ("host", "supervisor")):
        for path in (repository / "tests" / "unit" / folder).glob("*.cc"):
            for name in re.findall(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', path.read_text()):
                there.add(f"{kind}: " + "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', name)))
    named = re.findall(r"`(\w+::test_\w+|(?:core|host): [^`]+)`", page.read_text())
    if not named:
        return ["docs/lifecycle.md:1: no test is named"]
    return [f"docs/lifecycle.md: there is no test {name}" for name in named if name not in there]
