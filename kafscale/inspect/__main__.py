"""
The command: ``kafscale-inspect``, or ``python -m kafscale.inspect``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from twisted.internet.task import react

from kafscale.config import Settings, from_environment
from kafscale.errors import NoSuchObject, SettingError, StoreError
from kafscale.inspect.dump import dump
from kafscale.inspect.listing import list_all
from kafscale.inspect.opening import Opened, WrongStore, open_to_read, running
from kafscale.inspect.verify import Verification

WRONG = 1
"""The exit status when a rule of the log is violated."""

CANNOT = 2
"""The exit status when nothing could be read; argparse uses it, too."""


class Parser(argparse.ArgumentParser):
    """
    A parser that takes no abbreviations, and answers a mistake with one line.
    """

    def __init__(self, **named: Any) -> None:
        """
        See C{argparse.ArgumentParser}.
        """
        super().__init__(allow_abbrev=False, **named)

    def error(self, message: str) -> NoReturn:
        """
        Say what is wrong, and end the process.
        """
        self.exit(complain(f"{message}; see {self.prog} --help"))


def parser() -> argparse.ArgumentParser:
    """
    Return the parser of the command line.
    """
    command = Parser(
        prog="kafscale-inspect",
        description="Look at what a broker has stored. It only reads, and may do so while the"
        " broker runs.",
        epilog="Exit status: 0 all is well, 1 something is wrong, 2 it could not look."
        " The broker's variables count here, too: KAFSCALE_DATA_DIR and KAFSCALE_NAMESPACE; for"
        " records in a bucket KAFSCALE_S3_BUCKET, KAFSCALE_S3_ENDPOINT and so on; for a cluster"
        " KAFSCALE_ETCD_ENDPOINTS.",
    )
    where = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for each in (command, where):  # before the verb or after it
        each.add_argument("--data-dir", metavar="DIR", help="where the broker keeps its data")
        each.add_argument("--namespace", metavar="NAME", help="of the cluster")
    verbs = command.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    verbs.add_parser("list", parents=[where], help="journals, partitions, and the objects of each")
    verbs.add_parser("verify", parents=[where], help="read everything, and report what is wrong")
    one = verbs.add_parser(
        "dump",
        parents=[where],
        help="the batches and records of one slot, bundle, segment or volume",
    )
    one.add_argument("--batches", action="store_true", help="without the records")
    one.add_argument("object", help="its key, as list prints it, or its file")
    return command


async def run(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Run a command. Return the exit status.
    """
    given = {"data-dir": arguments.data_dir, "namespace": arguments.namespace}
    try:
        settings, _ = from_environment(os.environ, given)
        opened = open_to_read(settings, reactor)
    except SettingError as error:
        return complain(str(error))
    try:
        if arguments.verb == "dump":
            key = key_of(arguments.object, settings.data_dir)
            whole = await dump(opened.objects, key, arguments.batches, print_line)
        else:
            whole = await _whole(arguments.verb, opened, settings)
    except WrongStore as error:
        return complain(str(error))
    except SettingError as error:
        print_line(f"wrong: {error}")
        return WRONG
    except NoSuchObject as error:
        return complain(f"there is no object {error}")
    except (StoreError, ValueError) as error:
        return complain(str(error))
    return 0 if whole else WRONG


async def _whole(verb: str, opened: Opened, settings: Settings) -> bool:
    data_dir = settings.data_dir
    if settings.etcd_endpoints:
        print_line("brokers that run on this etcd may be ahead of this report")
    elif (pid := running(data_dir)) is not None:
        print_line(f"process {pid} may run a broker on {data_dir}: it may be ahead of this report")
    view = await opened.check_store()
    if verb == "list":
        return await list_all(opened.objects, view, print_line)
    return await Verification(opened.objects, opened.fresh, print_line).run()


def key_of(name: str, data_dir: str) -> str:
    """
    Return the key of an object.

    @param name: The key, or the path of the object's file.
    """
    root = os.path.join(os.path.abspath(data_dir), "objects", "")
    path = os.path.abspath(name)
    return path.removeprefix(root) if path.startswith(root) else name


def print_line(line: str) -> None:
    """
    Print a line of the report.
    """
    sys.stdout.write(f"{line}\n")


def complain(line: str) -> int:
    """
    Print why nothing could be read. Return the exit status.
    """
    sys.stderr.write(f"kafscale-inspect: {line}\n")
    return CANNOT


def main(argv: Sequence[str] | None = None) -> None:
    """
    Parse, run, and end the process.
    """
    arguments = parser().parse_args(argv)

    async def within(reactor: Any) -> None:
        try:
            status = await run(arguments, reactor)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the pipe has closed it. Python would report an error
            # when it flushes once more at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = CANNOT
        raise SystemExit(status)

    react(within)


if __name__ == "__main__":
    main()
