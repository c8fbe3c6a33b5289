"""bin/dump and bin/load as operators type them."""

import fcntl
import gzip
import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import zstandard

import tomato_dao
from tests.conftest import CHECKOUT, World
from tests.helpers import commands
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import LOCKS, blocked
from tests.helpers.transfer_cases import by_hand, dumped, organization, rows_of
from tomato_dao import Database

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner

DUMP, LOAD = str(CHECKOUT / "bin" / "dump"), str(CHECKOUT / "bin" / "load")


def run(url: str, *command: str, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "DATABASE_URL": url, "OWNER_DATABASE_URL": ""}
    return commands.run(command, environment, cwd or "/", stdin)


def refused(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the one line that a command says when it fails."""
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    return line


def test_a_dump_is_loaded_by_its_name_alone(
    tomato_url: str, reader_url: str, db: Database, world: World, tmp_path: Path
) -> None:
    done = run(reader_url, DUMP)
    assert done.returncode == 0, done.stderr
    assert done.stdout == dumped(db)
    assert done.stderr.decode().startswith("dump: 9 rows in ")
    assert "organization 1, site 1, host 1" in done.stderr.decode()
    (tmp_path / "dump.json").write_bytes(done.stdout)
    loaded = run(tomato_url, LOAD, "--replace", "dump", cwd=tmp_path)
    assert (loaded.returncode, loaded.stdout) == (0, b"")
    assert loaded.stderr.decode().startswith("load: 9 rows in ")
    assert dumped(db) == done.stdout


@pytest.mark.parametrize("name", ["a dump.json", "dump.json.gz", "dump.json.zst"])
def test_an_output_file_is_whole_private_and_compressed_by_its_ending(
    tomato_url: str, db: Database, world: World, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text("the one before")
    path.chmod(0o644)
    done = run(tomato_url, DUMP, "--output", name, "--jobs", "2", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [name]
    data, text = path.read_bytes(), dumped(db)
    plain = gzip.decompress(data) if path.suffix == ".gz" else data
    if path.suffix == ".zst":
        plain = zstandard.ZstdDecompressor().stream_reader(data).read()
    assert plain == text
    assert run(tomato_url, LOAD, "--check", name.removesuffix(path.suffix).removesuffix(".json"), cwd=tmp_path).returncode == 0
    assert run(tomato_url, LOAD, "--check", "-", stdin=data).returncode == 0
    assert "cut off" in refused(run(tomato_url, LOAD, "--check", "-", stdin=data[: len(data) // 2]))


def test_standard_output_has_other_names(tomato_url: str, db: Database, tmp_path: Path) -> None:
    for name in ("-", "/dev/stdout"):
        assert run(tomato_url, DUMP, "--output", name, cwd=tmp_path).stdout == dumped(db)
    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_fails_leaves_the_file_before(tomato_url: str, server: psycopg.Connection, tmp_path: Path) -> None:
    server.execute("create table heap (x int)")
    (tmp_path / "dump.json").write_text("the one before")
    assert "no primary key" in refused(run(tomato_url, DUMP, "--output", "dump.json", cwd=tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"dump.json": "the one before"}


def test_a_full_disk_is_reported(tomato_url: str) -> None:
    assert "No space left on device" in refused(run(tomato_url, "sh", "-c", f"exec '{DUMP}' > /dev/full"))
    assert "/dev/full: No space left on device" in refused(run(tomato_url, DUMP, "--output", "/dev/full"))
    assert Path("/dev/full").is_char_device()
    assert "No such file or directory" in refused(run(tomato_url, DUMP, "--output", "/no such directory/dump.json"))


def test_a_reader_that_leaves_ends_the_dump_quietly(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("insert into usage_statistics (attrs) select '{}' from generate_series(1, 100000)")
    done = run(tomato_url, "bash", "-c", f"'{DUMP}' | head -c 1000")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b'[\n{"model":"dump.header"')
    assert len(done.stdout) == 1000


def test_unreadable_figures_are_reported_with_the_reason(tomato_url: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    for name, said in (
        ("nothing", f"there is no file nothing in {tmp_path}, nor one that ends in .json, .json.gz, .json.zst"),
        ("nothing.json", f"there is no file nothing.json in {tmp_path}"),
        ("directory", "can't read directory: Is a directory"),
        ("/proc/self/mem", "reading failed: Input/output error"),
        ("x" * 300, f"can't read {'x' * 300}: File name too long"),
    ):
        assert said in refused(run(tomato_url, LOAD, name, cwd=tmp_path))
        assert said in refused(run(tomato_url, LOAD, "--check", name, cwd=tmp_path))


@pytest.mark.parametrize(
    "command",
    [
        [LOAD],
        [LOAD, ""],
        [DUMP, "--output", ""],
        [LOAD, "x", "y"],
        [LOAD, "--replace", "--merge", "x"],
        [DUMP, "x"],
        [DUMP, "--jobs", "0"],
        [DUMP, "--jobs", "x"],
    ],
    ids=lambda command: " ".join(command).replace(str(CHECKOUT), ""),
)
def test_misuse_is_misuse(command: list[str]) -> None:
    done = run("", *command)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: ")


def test_closed_streams_lose_nothing(tomato_url: str, db: Database, world: World, tmp_path: Path) -> None:
    text = dumped(db)
    done = run(tomato_url, "sh", "-c", f"exec '{DUMP}' 2>&-")
    assert (done.returncode, done.stdout) == (0, text)
    assert run(tomato_url, "sh", "-c", f"exec '{DUMP}' --output x 2>&- >&- <&-", cwd=tmp_path).returncode == 0
    assert (tmp_path / "x").read_bytes() == text
    assert "can't write to standard output: Bad file descriptor" in refused(run(tomato_url, "sh", "-c", f"exec '{DUMP}' >&-"))
    assert "the file is empty, or cut off" in refused(run(tomato_url, "sh", "-c", f"exec '{LOAD}' - <&-"))


def test_a_file_cut_in_half_is_refused(tomato_url: str, db: Database, world: World, tmp_path: Path) -> None:
    text = dumped(db)
    (tmp_path / "half.json").write_bytes(text[: len(text) // 2])
    assert "it is cut off" in refused(run(tomato_url, LOAD, "--replace", "half", cwd=tmp_path))
    assert "the database tomato_scratch_" in refused(run(tomato_url, LOAD, "-", stdin=text))
    assert dumped(db) == text


def test_checking_needs_no_database(db: Database, world: World) -> None:
    done = run("postgresql://127.0.0.1:1/x", LOAD, "--check", "-", stdin=dumped(db))
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"load: fine: 9 rows in " in done.stderr


def started(url: str, *command: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Return a command that goes on."""
    return subprocess.Popen(
        command,
        env={**os.environ, "DATABASE_URL": url, "OWNER_DATABASE_URL": ""},
        cwd=cwd,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # ignored, where a shell runs the tests in the background
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)],
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_load_that_is_ended_leaves_the_database_as_it_was(
    tomato_url: str, db: Database, world: World, server: psycopg.Connection, number: int, code: int
) -> None:
    before = rows_of(server)
    text = by_hand(db, [organization(n) for n in range(1, 30_000)]).getvalue()
    load = started(tomato_url, LOAD, "--replace", "-")  # waits for the rest of its file
    assert load.stdin
    assert load.stderr
    load.stdin.write(text[: len(text) // 2])
    load.stdin.flush()
    until(server, f"exists (select {LOCKS} and relation = 'organizations'::regclass and mode = 'AccessExclusiveLock')")
    os.kill(load.pid, number)
    assert load.wait(60) == code
    load.stdin.close()
    said = load.stderr.read()
    load.stderr.close()
    assert said == (b"load: interrupted, nothing was loaded\n" if number == signal.SIGINT else b"")
    assert rows_of(server) == before
    tomato_dao.load(db, io.BytesIO(text), replace=True)
    assert len(db.organizations.list(limit=1)) == 1


@pytest.mark.parametrize(
    ("options", "number", "code", "said"),
    [
        ([], signal.SIGINT, 130, "dump: interrupted, the output is incomplete\n"),
        (["--output", "x"], signal.SIGINT, 130, "dump: interrupted, nothing was written\n"),
        (["--output", "x"], signal.SIGTERM, 143, ""),
        (["--output", "x"], signal.SIGHUP, 129, ""),
    ],
)
def test_a_dump_that_is_interrupted_says_what_it_leaves(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, options: list[str], number: int, code: int, said: str
) -> None:
    with server.transaction():
        server.execute("lock table usage_records")  # so that it waits
        dump = started(tomato_url, DUMP, *options, cwd=tmp_path)
        until(server, *blocked("tomato-dao dump"))
        os.kill(dump.pid, number)
        assert dump.wait(60) == code
    assert dump.stderr
    assert dump.stderr.read().decode() == said
    dump.stderr.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.06, 0.1, 0.2])
def test_an_interrupt_while_a_command_starts_leaves_no_trace(tomato_url: str, seconds: float) -> None:
    load = started(tomato_url, LOAD, "--check", "-")
    with suppress(subprocess.TimeoutExpired):
        load.wait(seconds)
    load.send_signal(signal.SIGINT)
    _, said = load.communicate(timeout=60)
    if b"tomato_dao" not in said and b"Traceback" in said:  # Python was interrupted in its own start, before our first line
        assert said.rstrip().endswith(b"KeyboardInterrupt")
    else:
        assert (load.returncode, said) in ((-signal.SIGINT, b""), (130, b"load: interrupted\n"))


INTERRUPTED = """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # that thread takes it: no read of this one is cut short
from tomato_dao.__main__ import run
run("load", "bin/load", ["--check", "-"])
"""


def test_an_interrupt_between_two_reads_of_an_idle_pipe_is_noticed(db: Database) -> None:
    text = by_hand(db, [organization(n) for n in range(1, 1000)]).getvalue()
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as load:
        try:
            assert load.stdin
            load.stdin.write(text[:1000])
            stat = Path(f"/proc/{load.pid}/stat")
            while fcntl.ioctl(load.stdin, termios.FIONREAD, bytes(4)) != bytes(4) or stat.read_text().split()[2] != "S":
                assert load.poll() is None
            load.send_signal(signal.SIGINT)
            for n in range(1000, 1100):  # the signal may be on its way still
                with suppress(subprocess.TimeoutExpired, BrokenPipeError):
                    load.stdin.write(text[n : n + 1])
                    load.wait(0.05)
            assert load.poll() == 130
        finally:
            load.kill()


def test_a_terminal_sees_how_far_it_is(tomato_url: str, db: Database) -> None:
    """Once it takes longer than two seconds: the file's second half comes after that."""
    text = by_hand(db, [organization(n) for n in range(1, 20_000)]).getvalue()
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    environment = {**os.environ, "DATABASE_URL": tomato_url, "OWNER_DATABASE_URL": ""}
    load = subprocess.Popen([LOAD, "-"], env=environment, stdin=subprocess.PIPE, stderr=theirs)
    assert load.stdin
    os.close(theirs)
    for n in range(12):
        load.stdin.write(text[n * len(text) // 12 : (n + 1) * len(text) // 12])
        load.stdin.flush()
        time.sleep(0.25)
    load.stdin.close()
    said = b""
    try:
        while data := os.read(ours, 1 << 16):
            said += data
    except OSError:  # the terminal's end
        pass
    assert load.wait(60) == 0
    assert b" rows, " in said
    assert b"MB/s" in said
    assert said.decode().strip().splitlines()[-1].startswith("load: 19,999 rows in ")


def test_help_shows_how(tomato_url: str) -> None:
    for command, words in ((DUMP, ["--output FILE", "--jobs N"]), (LOAD, ["--replace", "--merge", "--check"])):
        done = run(tomato_url, command, "--help")
        assert done.returncode == 0
        assert all(word in done.stdout.decode() for word in words)


def test_a_dump_is_read_by_any_json_tool(tomato_url: str, world: World) -> None:
    assert json.loads(run(tomato_url, DUMP).stdout)[-1]["model"] == "dump.trailer"
