"""The lab from the command line: `python -m environments.lab --help`."""

from __future__ import annotations

import argparse
import json
import sys

from environments.lab import demo
from environments.lab.client import LabClient, connect
from environments.lab.errors import LabError, ToolMissing
from environments.lab.install import Installer
from environments.lab.instance import RunningSuperset
from environments.lab.lab import holder_of
from environments.lab.large import Sizes, build_large_estate
from environments.lab.places import Places
from environments.lab.progress import Progress
from environments.lab.server import serve, shared_run
from environments.lab.templates import CONTENTS
from environments.lab.versions import CURRENT, SUPERSETS, superset_version


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed (the text says why), 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.function(options) or 0)
    except LabError as error:
        # The client of a server that did not start tells a missing tool from a failure by the first word.
        prefix = "missing: " if isinstance(error, ToolMissing) else ""
        sys.stderr.write(f"\n{prefix}{error.message}\n" + (f"{error.remedy}\n" if error.remedy else ""))
        return 1
    except OSError as error:
        # The disk is full, the folder is somebody else's: what and where is in its words.
        sys.stderr.write(f"\n{error}\nThe lab's files are in {Places.default().root} (SSTOOLS_LAB_DIR).\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m environments.lab",
        description="Real Supersets on this machine, installed from PyPI: for the demo, live tests, benchmarks.",
        epilog="Files go to SSTOOLS_LAB_DIR (default: var/lab).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="two Supersets and ss-tools in front of them, until Ctrl-C")
    demo.add_arguments(command)
    command.set_defaults(function=demo.run_demo)

    command = commands.add_parser("start", help="start a Superset in the background, until `stop`")
    command.add_argument("name", help="any name; the same name again shows the instance that runs")
    command.add_argument("--version", default=CURRENT, choices=list(SUPERSETS))
    command.add_argument("--contents", default="empty", choices=CONTENTS)
    command.add_argument("--port", type=int, default=0, help="default: a free one")
    command.add_argument("--password", default="admin", help="of the account admin")
    command.add_argument("--id-offset", type=int, default=0, help="ids of what is created start above this")
    command.add_argument(
        "--feature-flag",
        action="append",
        default=[],
        metavar="NAME",
        help="switch a feature flag on (repeatable)",
    )
    command.set_defaults(function=_start)

    command = commands.add_parser("fill", help="fill a Superset that `start` started with a large estate")
    command.add_argument("name", help="started with --contents prod, as the datasets stand on its connection")
    command.add_argument("--charts", type=int, default=Sizes.charts)
    command.add_argument("--dashboards", type=int, default=Sizes.dashboards)
    command.add_argument("--datasets", type=int, default=Sizes.datasets)
    command.set_defaults(function=_fill)

    command = commands.add_parser("stop", help="end what `start` started, and its databases")
    command.set_defaults(function=_stop)

    command = commands.add_parser("status", help="what runs, and where")
    command.add_argument("--json", action="store_true")
    command.set_defaults(function=_status)

    command = commands.add_parser(
        "install", help="install a release, or `all`, into the cache; start nothing"
    )
    command.add_argument("version", choices=[*SUPERSETS, "all"])
    command.set_defaults(function=_install)

    command = commands.add_parser("serve")  # what `start` and the live tests run in the background
    command.add_argument("--run", required=True)
    command.add_argument("--linger", type=float, default=5)
    command.set_defaults(function=_serve)
    return parser


def _start(options: argparse.Namespace) -> None:
    progress = Progress()
    with LabClient() as lab, progress.step(f"Starting {options.name}", f"{options.name} answers"):
        running = lab.shared(
            options.name,
            options.contents,
            version=options.version,
            port=options.port,
            password=options.password,
            id_offset=options.id_offset,
            feature_flags={name: True for name in options.feature_flag},
        )
        lab.keep()
    _show(progress, running)


def _fill(options: argparse.Namespace) -> None:
    progress = Progress()
    with LabClient() as lab:
        running = next((one for one in lab.status() if one.name == options.name), None)
    if running is None:
        raise LabError(f"There is no {options.name}.", f"python -m environments.lab start {options.name}")
    sizes = Sizes(options.charts, options.dashboards, options.datasets)
    with progress.step(f"Filling {options.name}", f"{options.name} holds {sizes.total} more assets"):
        build_large_estate(running, sizes)


def _stop(options: argparse.Namespace) -> None:
    progress = Progress()
    if connection := connect(Places.default(), shared_run()):
        connection.close()
        with progress.step("Ending the lab", "The lab has ended"), LabClient() as lab:
            lab.stop()
    else:
        progress.say("Nothing runs.")


def _status(options: argparse.Namespace) -> None:
    progress = Progress()
    running: list[RunningSuperset] = []
    if connection := connect(Places.default(), shared_run()):
        connection.close()
        with LabClient() as lab:
            running = lab.status()
    if options.json:
        progress.say(json.dumps([superset.to_dict() for superset in running], indent=1))
        return
    for superset in running:
        _show(progress, superset)
    if holder := holder_of(Places.default().run("demo")):
        progress.say(f"The demo runs (process {holder}); Ctrl-C in its terminal ends it.")
    elif not running:
        progress.say("Nothing runs.")


def _install(options: argparse.Namespace) -> None:
    installer = Installer(Places.default(), Progress())
    installer.postgres()
    for version in SUPERSETS if options.version == "all" else [options.version]:
        installer.superset(superset_version(version))


def _serve(options: argparse.Namespace) -> None:
    serve(Places.default(), options.run, options.linger)


def _show(progress: Progress, superset: RunningSuperset) -> None:
    progress.say(
        f"{superset.name}: {superset.url} · Superset {superset.version} · {superset.contents} · "
        f"sign in as {superset.username} / {superset.password} · log {superset.log}"
    )


if __name__ == "__main__":
    sys.exit(main())
