"""`tomato-dao doctor`: one page on the state of the server and the database, and what to do about what isn't well."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime

from ..errors import TomatoError
from ..printable import json_escaped, printable
from ..server.commands import command_line
from ..server.probe import is_full, probe
from ..sql.timing import at_most
from .cli import Parser
from .examinations import BAD, Finding, examine
from .urls import owner_url

_PATIENCE = 60  # seconds for all of it, whatever the server does
_SIGNS = {"ok": "ok  ", "note": "note", "bad": "BAD ", "unknown": "–   "}


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao doctor [--json] [--pool-size N]`."""
    parser = Parser(
        prog=prog,
        description="Tell how the server and the database of OWNER_DATABASE_URL or DATABASE_URL (else the embedded ones) are. "
        "Exits with 1 where something is bad.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    parser.add_argument("--pool-size", type=int, default=8, metavar="N", help="of a worker process (default: 8)")
    options = parser.parse_args(arguments)
    if options.pool_size < 1:
        parser.error("a pool has at least one connection")
    where, findings = _examine(options.pool_size)
    bad = [finding.topic for finding in findings if finding.level == BAD]
    if options.json:
        found = [{name: getattr(f, name) for name in Finding.__slots__} for f in findings]
        told = {"database": where, "well": not bad, "findings": found}
        print(json_escaped(json.dumps(told, default=_as_text, ensure_ascii=False, indent=2)))
    else:
        print(f"{printable(where)}: {'to do: ' + ', '.join(bad) if bad else 'all is well'}\n")
        for finding in findings:
            _print(finding)
    sys.exit(1 if bad else 0)


def _examine(pool_size: int) -> tuple[str, list[Finding]]:
    """Which database it is, and the findings: just one where it can't be examined."""
    try:
        with at_most(_PATIENCE), probe(owner_url()) as connection:  # see rows() for what it looks names up in
            connection.execute("set statement_timeout = '30s'")
            connection.execute("set lock_timeout = '1s'")  # the doctor does not wait in the queue that it is to tell of
            where = f"{connection.info.dbname} on {connection.info.host}:{connection.info.port}"
            findings = list(examine(connection, pool_size))
            if connection.closed:
                advice = ["look at the server's machine and its log: a process is stopped, or the network is gone"]
                findings.insert(
                    0, Finding("server", BAD, "the session was lost: the server ended it, or did not answer", [], advice)
                )
            return where, findings
    except TomatoError as error:
        what, _, step = str(error).partition("; ")  # as our errors are written
        advice = [step] if step else []
        if not is_full(error):
            return "the database", [Finding("server", BAD, what, advice=advice)]
        doctor = f"OWNER_DATABASE_URL=postgresql://postgres@…/… {command_line('doctor')}"
        advice.append(f"as a superuser there is a reserved connection: {doctor}")
        return "the database", [Finding("connections", BAD, what, advice=advice)]


def _print(finding: Finding) -> None:
    print(f"{_SIGNS[finding.level]}  {finding.topic:<12}  {printable(finding.summary, 1000)}")
    for line in finding.details:
        print(f"{'':20}{printable(line, 1000)}")
    for line in finding.advice:
        print(f"{'':18}{'  ' if line.startswith(' ') else '→ '}{printable(line, 1000)}")


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
