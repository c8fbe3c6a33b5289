"""`python -m checks.mutants [MODULE …]`: change the product in small ways and report changes that no test notices."""

import argparse
import random
import signal
import sys
import time
from pathlib import Path

from .copies import Stopped
from .record import Choice, Record
from .report import Report
from .results import Results, accepted
from .run import Run
from .settings import MODULES, Settings

_SECONDS = 600
_PLACE = Path("var", "mutants")
_ACCEPTED = Path("tests", "checks", "mutants", "accepted.txt")


def main() -> int:
    """Return 0 if all tried mutants are killed or accepted, else 1, or 2 for misuse."""
    arguments = _parser().parse_args()
    root = arguments.root.resolve()
    settings = Settings.read(root, arguments.config)
    if unknown := set(arguments.modules) - set(settings.modules()):
        return _misuse(f"no module is called {', '.join(sorted(unknown))}; there are {', '.join(settings.modules())}")
    try:
        reasons = accepted(root / _ACCEPTED)
    except ValueError as error:
        return _misuse(str(error))
    modules = arguments.modules or settings.modules()
    mutants = settings.mutants(modules)
    if arguments.list:
        print("\n".join(mutant.name for mutant in mutants))
        return 0

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    place = root / _PLACE
    place.mkdir(parents=True, exist_ok=True)
    results = Results(settings, place / "results.json")
    record = Record(settings, place / "record")
    run = Run(settings, place, _say, workers=arguments.workers)
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed  # noqa: S311
    stopped = ""
    try:
        run.record(record)
        record.load()
        for name in record.failed:
            _say(f"{name} fails without a mutant, and is not used")
        pending = [mutant for mutant in mutants if results.get(mutant) is None]
        random.Random(seed).shuffle(pending)  # noqa: S311
        _say(f"{len(mutants)} mutants, {len(pending)} of them to try, in the order of SEED={seed}, for {arguments.seconds} s")
        run.mutants(pending, Choice(record), results, time.monotonic() + arguments.seconds)
    except Stopped as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "interrupted"
    found = {mutant.name: result for mutant in mutants if (result := results.get(mutant))}
    report = Report(mutants, found, reasons, settings.paths(modules))
    print("\n".join(report.lines()))
    if stopped:
        print(f"mutants: {stopped}; what was found until then is kept", file=sys.stderr)
        return 130 if stopped == "interrupted" else 1
    return 0 if report.is_good() else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="rows of modules.toml (default: all)")
    parser.add_argument("--seconds", type=_seconds, default=_SECONDS, help="of trying mutants (default: %(default)s)")
    parser.add_argument("--seed", type=_seed, help="of the order (default: a new one)")
    parser.add_argument("--workers", type=int, choices=range(1, 17), default=2, metavar="N", help="copies at work at once")
    parser.add_argument("--list", action="store_true", help="list the mutants' names, and try none")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout")
    parser.add_argument("--config", type=Path, default=MODULES, help="another modules.toml")
    return parser


def _seconds(text: str) -> int:
    if not text:
        return _SECONDS  # make's variable is not set
    if not text.isdecimal() or not 1 <= int(text) <= 86400:
        raise argparse.ArgumentTypeError(f"SECONDS is a number of seconds from 1 to 86400, not {text!r}")
    return int(text)


def _seed(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"SEED is a number, not {text!r}")
    return int(text)


def _misuse(message: str) -> int:
    print(f"mutants: {message}", file=sys.stderr)
    return 2


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
