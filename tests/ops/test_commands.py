"""The commands as their users type them: tomato-dao, bin/query, make help, the migrate command."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf, nan
from pathlib import Path

import psycopg
import pytest

import tomato_dao
from tests.conftest import CHECKOUT, World
from tests.helpers.commands import run as run_bytes
from tomato_dao import Database
from tomato_dao.ops import embedded_command
from tomato_dao.ops.query import _to_json
from tomato_dao.server import commands

pytestmark = pytest.mark.slow

_OTHERS = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "OWNER_DATABASE_URL", "DIRECT_DATABASE_URL"}


def run(command: list[str], url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a database, as from a shell: neither `make -j test` nor another URL around the tests has a say in it."""
    outside = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    if not url:
        outside["TOMATO_DATA_DIR"] = "/dev/null/none"  # which no server can be started in
    done = run_bytes(command, {**outside, "DATABASE_URL": url, **environment})
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def query(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([str(CHECKOUT / "bin" / "query"), *arguments], url)


def query_and_migrate(url: str) -> list[subprocess.CompletedProcess[str]]:
    """Run bin/query and make migrate at the same time."""
    commands = [[str(CHECKOUT / "bin" / "query"), "hosts.get", "id=1"], ["make", "-s", "-C", str(CHECKOUT), "migrate"]]
    with ThreadPoolExecutor(len(commands)) as threads:
        return list(threads.map(lambda command: run(command, url), commands))


def test_query_lists_every_query_with_what_it_does(tomato_url: str) -> None:
    done = query(tomato_url)
    assert done.returncode == 0
    assert "hosts.get_by_name name=…" in done.stdout
    assert "Return the host with this name." in done.stdout
    assert all(line.endswith(".") for line in done.stdout.splitlines())  # whole, also where they take several lines


def test_query_prints_a_row_as_a_record(tomato_url: str, world: World) -> None:
    done = query(tomato_url, "hosts.get_by_name", "name=host1")
    assert done.returncode == 0, done.stderr
    assert ["address", "10.0.0.1"] in [line.split() for line in done.stdout.splitlines()]


def test_query_prints_rows_as_a_table(tomato_url: str, db: Database, world: World) -> None:
    db.organizations.create("second")
    done = query(tomato_url, "organizations.list", "after=0", "limit=10")
    head, line, first, _, count = done.stdout.splitlines()
    assert head.split()[:2] == ["id", "name"]
    assert set(line) == {"-", " "}
    assert first.split()[:2] == [str(world.organization.id), "uni"]
    assert count == "2 rows"


def test_query_prints_json(tomato_url: str, world: World) -> None:
    (row,) = json.loads(query(tomato_url, "users.get", f"id={world.user.id}", "--json").stdout)
    assert (row["name"], row["flags"], row["password_at"]) == ("alice", [], None)


def test_query_prints_valid_json_only(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    def no_constant(name: str) -> object:
        raise AssertionError(f"{name} is no JSON")

    server.execute("update quotas set used_traffic = 'Infinity'")
    (row,) = json.loads(
        query(tomato_url, "quotas.get", f"user_id={world.user.id}", "--json").stdout, parse_constant=no_constant
    )
    assert row["used_traffic"] == "Infinity"
    assert _to_json([inf, -inf, nan, 1.5, None, True, "\n"]) == '["Infinity", "-Infinity", "NaN", 1.5, null, true, "\\n"]'
    value = '{"n": 1e400, "i": 1' + "0" * 5000 + ', "f": 0.10000000000000000555, "s": "→ \\ud83d\\ude00 \\n\\"}]"}'
    assert query(tomato_url, "key_values.set", "key=a", f"value={value}", "--write").returncode == 0
    for encoding in ("utf-8", "latin-1"):
        done = run(
            [str(CHECKOUT / "bin" / "query"), "key_values.get", "key=a", "--json"], tomato_url, PYTHONIOENCODING=encoding
        )
        (row,) = json.loads(done.stdout, parse_constant=no_constant, parse_int=str, parse_float=str)
        (found,) = [cell for cell in row.values() if isinstance(cell, dict)]
        assert len(found["n"]) == 401
        assert len(found["i"]) == 5001
        assert found["f"] == "0.10000000000000000555"
        assert found["s"] == '→ 😀 \n"}]'


@pytest.mark.parametrize("encoding", ["latin-1", "euc_jp", "ascii"])
def test_commands_print_on_any_terminal(tomato_url: str, world: World, server: psycopg.Connection, encoding: str) -> None:
    server.execute("update sites set name = 'Zürich → 東京'")
    all_commands: list[tuple[list[str | bytes], int | None]] = [
        (["query", "sites.list", "after=0", "limit=1"], 0),
        (["query", "hosts.get", "id=→"], 2),
        (["query", "hosts.get_by_name", "name=→"], 0),
        (["query", "hosts.get_by_name", b"name=\xff"], 2),
        (["doctor"], None),
        (["doctor", "--help"], 0),
        (["load", "/nowhere/→.json"], 1),
    ]
    for command, code in all_commands if encoding == "ascii" else all_commands[:2]:  # ASCII lacks most
        plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": f"{encoding}:strict"}
        done = subprocess.run(
            [sys.executable, "-m", "tomato_dao", *command],
            cwd=CHECKOUT,
            env={**os.environ, "DATABASE_URL": tomato_url, **plain},
            capture_output=True,
            timeout=60,
            check=False,
        )
        said = (done.stdout + done.stderr).decode(encoding, errors="replace")
        assert code is None or done.returncode == code, said
        assert "Traceback" not in said
        assert "Unicode" not in said
        if command[:2] == ["query", "sites.list"]:
            assert {"latin-1": "Zürich -> ??", "euc_jp": "Zürich → 東京", "ascii": "Z?rich -> ??"}[encoding] in said


def test_query_changes_nothing_unless_told_to(tomato_url: str, db: Database, world: World) -> None:
    refused = query(tomato_url, "users.touch_login", f"id={world.user.id}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "users.touch_login changes the database: pass --write to allow it" in refused.stderr
    assert db.users.get(world.user.id) == world.user
    assert query(tomato_url, "users.touch_login", f"id={world.user.id}", "--write").stdout == "1 row\n"
    assert db.users.get(world.user.id) != world.user


@pytest.mark.parametrize(
    "arguments",
    [["hosts.nope"], ["hosts.get"], ["hosts.get", "name=x"], ["hosts.get", "id"], ["hosts.get", "id=1", "--nope"]],
    ids=" ".join,
)
def test_query_calls_misuse_misuse(tomato_url: str, arguments: list[str]) -> None:
    done = query(tomato_url, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: bin/query ")


def test_query_refuses_a_patch_of_what_is_not_there(tomato_url: str, world: World) -> None:
    done = query(tomato_url, "hosts.update", "name=host1", 'patch={"street": "x"}', "--write")
    assert done.returncode == 2
    assert "hosts.update: a patch cannot have street" in done.stderr


def test_query_says_what_is_wrong_with_a_value(tomato_url: str) -> None:
    for command, said in (
        (["hosts.get", "id=x"], 'hosts.get: id: invalid input syntax for type bigint: "x"'),
        (["organizations.list", "limit=1", "after=99999999999999999999"], "organizations.list: after: value "),
        (
            ["key_values.set", "key=a", 'value={"$1$99": x}', "--write"],
            "key_values.set: value: invalid input syntax for type json",
        ),
        (["sites.list", "after=0", "limit=-1"], "LIMIT must not be negative"),
    ):
        done = query(tomato_url, *command)
        assert done.returncode == (2 if ":" in said else 1)
        assert said in done.stderr.splitlines()[-1]


def test_a_value_that_is_given_twice_is_misuse(tomato_url: str) -> None:
    done = query(tomato_url, "hosts.get_by_name", "name=a", "name=b")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "bin/query: error: hosts.get_by_name: name is given twice")


def test_a_value_that_fails_later_is_not_blamed_on_the_last_parameter(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute(f"alter database {server.info.dbname} set log_parameter_max_length_on_error = -1")
    server.execute("insert into tasks (name, started_at) values ('x', now())")
    done = query(tomato_url, "tasks.claim", "name=x", "period=290000 years", "lease=1 day", "--write")
    assert (done.returncode, done.stderr) == (1, "query: task: timestamp out of range\n")


@pytest.mark.parametrize(
    ("closed", "code", "said"), [(">&-", 1, "query: reading or writing failed: Bad file descriptor\n"), ("2>&-", 0, "")]
)
def test_a_closed_stream_is_no_fault_of_ours(tomato_url: str, closed: str, code: int, said: str) -> None:
    done = run(["sh", "-c", f"'{CHECKOUT}/bin/query' sites.list after=0 limit=1 {closed} <&-"], tomato_url)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_value_that_the_server_repeats_is_not_taken_for_a_parameter(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute(f"alter database {server.info.dbname} set log_parameter_max_length_on_error = -1")
    done = query(tomato_url, "organizations.list", "after=0", "limit='$99'")
    assert "organizations.list: limit: invalid input syntax for type bigint" in done.stderr.splitlines()[-1]


def test_a_parameter_that_may_be_null_can_be_left_out(tomato_url: str, world: World) -> None:
    done = query(tomato_url, "topologies.create", "name=t", f"user_id={world.user.id}", "attrs={}", "--write", "--json")
    assert json.loads(done.stdout)[0]["site_id"] is None


def test_query_ends_quietly_when_its_reader_does(tomato_url: str) -> None:
    script = f"'{CHECKOUT}/bin/query' | head -n 1"
    done = run(["bash", "-c", script], tomato_url)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:s3cret@127.0.0.1:1/x", "can't connect to 127.0.0.1:1, database x"),
        ("postgresql://u:s3cret@no%20host/x", "can't connect to no host:5432"),  # for this no name server is asked
        ("postgresql://u:s3cret@127.0.0.1:x/x", 'invalid integer value "x" for connection option "port"'),
        ("postgresql://u:s3cret@127.0.0.1/x?nope=1", "is not of the form postgresql://"),
        ("mysql://u:s3cret@127.0.0.1/x", "is not of the form postgresql://"),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(url: str, said: str) -> None:
    for done in query_and_migrate(url):
        assert done.returncode != 0
        line = done.stderr.splitlines()[0]
        assert said in line
        assert "s3cret" not in done.stdout + done.stderr


def test_make_help_lists_every_target() -> None:
    done = run(["make", "-s", "-C", str(CHECKOUT)], "")
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    phony = re.findall(r"^\.PHONY: (.*)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert listed == set(" ".join(phony).split())


def test_make_clean_spares_backups_only(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    for name in ("var/backups/old.json.zst", "var/postgresql/data/PG_VERSION", "build/lib", "tomato_dao/__pycache__/x.pyc"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    done = run(["make", "-s", "-C", str(tmp_path), "clean"], "")
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"Makefile", "var/backups/old.json.zst"}
    assert not (tmp_path / "var" / "postgresql").exists()


@pytest.mark.parametrize("limit", ["2", pytest.param("", marks=pytest.mark.long)], ids=["given", "default"])
def test_a_server_that_never_answers_is_given_up(limit: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://u:s3cret@127.0.0.1:{silent.getsockname()[1]}/x" + f"?connect_timeout={limit}" * bool(limit)
        for done in query_and_migrate(url):
            assert "connection timeout expired" in done.stderr
            assert "s3cret" not in done.stderr


def test_options_may_stand_anywhere(tomato_url: str, world: World) -> None:
    done = query(tomato_url, "users.touch_login", "--write", f"id={world.user.id}")
    assert (done.stdout, done.returncode) == ("1 row\n", 0)


def test_query_prints_times_in_utc(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    server.execute(f"alter database \"{server.info.dbname}\" set timezone to 'Asia/Tokyo'".encode())
    assert "+00:00" in query(tomato_url, "quotas.get", f"user_id={world.user.id}").stdout


def test_a_full_disk_is_one_line(tomato_url: str) -> None:
    command = [str(CHECKOUT / "bin" / "query"), "organizations.list", "after=0", "limit=1"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, env={**os.environ, "DATABASE_URL": tomato_url}, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("output", ["/dev/full", "a closed pipe"])
def test_a_write_whose_result_cannot_be_printed_says_that_it_was_committed(
    tomato_url: str, server: psycopg.Connection, output: str
) -> None:
    command = [str(CHECKOUT / "bin" / "query"), "--write", "organizations.create", "name=uni"]
    command += ["description=", "homepage_url=", "image_url=", "description_text=", "attrs={}"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe, Path("/dev/full").open("w") as full:
        out = full if output == "/dev/full" else pipe
        done = subprocess.run(
            command, env={**os.environ, "DATABASE_URL": tomato_url}, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert re.fullmatch(r"query: organizations\.create was committed, but its result can't be printed: .*\n", done.stderr)
    assert server.execute("select name from organizations").fetchall() == [("uni",)]


TOMATO_DAO = [sys.executable, "-m", "tomato_dao"]
SUBCOMMANDS = [
    *("migrate", "backfill", "dump", "load", "query", "doctor", "backup", "restore", "roles"),
    *("distribute", "undistribute", "embedded"),
]
_TARGETS = "|".join(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
CHECKOUT_COMMAND = re.compile(rf"(?<![\w/.-])bin/|\bmake (({_TARGETS})\b|$)|python -m tomato_dao\.")
IMPORTED = """
import sys
from tomato_dao.__main__ import run
try:
    run(sys.argv[1], "", ["--help"])
finally:
    print(*sys.modules, file=sys.stderr)
"""


def test_the_list_of_subcommands_has_a_line_for_each() -> None:
    alone, asked = (run([*TOMATO_DAO, *arguments], "", PYTHONPATH=str(CHECKOUT)) for arguments in ([], ["--help"]))
    assert (alone.returncode, alone.stderr) == (asked.returncode, asked.stderr) == (0, "")
    assert alone.stdout == asked.stdout
    assert re.findall(r"^ {4}(\w+)\s+\w.*\w$", alone.stdout, re.MULTILINE) == SUBCOMMANDS  # argparse breaks after a long name


def test_the_version_is_that_of_the_package() -> None:
    done = run([*TOMATO_DAO, "--version"], "", PYTHONPATH=str(CHECKOUT))
    assert (done.returncode, done.stdout) == (0, f"tomato-dao {tomato_dao.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["nope"], ["--nope"], ["dump", "--nope"], ["embedded"], ["migrate", "nope"]], ids=" ".join
)
def test_a_subcommand_that_does_not_exist_is_misuse(arguments: list[str]) -> None:
    done = run([*TOMATO_DAO, *arguments], "postgresql://127.0.0.1:1/x", PYTHONPATH=str(CHECKOUT))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m tomato_dao")


def test_usage_shows_the_command_that_was_typed() -> None:
    programs = sorted(path.name for path in (CHECKOUT / "bin").glob("[a-z]*"))
    assert set(programs) <= set(SUBCOMMANDS)
    typed_as = {f"bin/{name}": [str(CHECKOUT / "bin" / name)] for name in programs}
    typed_as |= {f"python -m tomato_dao {name}": [*TOMATO_DAO, name] for name in set(SUBCOMMANDS) - set(programs)}
    for typed, command in typed_as.items():
        done = run([*command, "--help"], "", PYTHONPATH=str(CHECKOUT))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: {typed} ")


def test_dump_and_load_start_without_what_other_subcommands_need() -> None:
    for name in ("dump", "load"):
        done = run([sys.executable, "-c", IMPORTED, name], "", PYTHONPATH=str(CHECKOUT))
        imported = {module for module in done.stderr.split() if module.startswith("tomato_dao")}
        assert f"tomato_dao.ops.{name}" in imported
        others = {f"tomato_dao.ops.{other}" for other in SUBCOMMANDS if other != name}
        assert imported.isdisjoint({"tomato_dao.database", "tomato_dao.dao.users", "tomato_dao.rows", *others})


def messages(tree: ast.Module) -> Iterator[ast.Constant]:
    """All text in a module that is no docstring."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_messages_name_commands_through_the_one_function_that_knows_them() -> None:
    exempt = {"commands.py", "contract.py", "faces.py", "plans.py", "schema.py"}  # that function; contributors' tools
    package = CHECKOUT / "tomato_dao"
    found = [
        f"{path.relative_to(package)}:{text.lineno}: {text.value!r}"
        for path in sorted(package.rglob("*.py"))
        if path.name not in exempt
        for text in messages(ast.parse(path.read_text("utf-8")))
        if CHECKOUT_COMMAND.search(str(text.value))
    ]
    assert found == []


def test_a_checkout_has_every_command_that_its_messages_name() -> None:
    subcommands = {*SUBCOMMANDS, *commands._TARGETS, *(f"embedded {action}" for action in embedded_command._ACTIONS)}
    for line in map(commands.command_line, sorted(subcommands)):
        program, _, rest = line.partition(" ")
        if program == "make":
            assert re.search(rf"^{rest.partition(' ')[0]}:", (CHECKOUT / "Makefile").read_text(), re.MULTILINE), line
        else:
            assert os.access(CHECKOUT / program, os.X_OK), line
