"""The command line.

python -m radlib.run study --study open --raw /where/my/downloads/are
python -m radlib.run check-data --study open --raw /where/my/downloads/are
python -m radlib.run plan --study paper --devices 8
python -m radlib.run notebook 03_transfer task=thyroid_us
python -m radlib.run checkpoint imagenet
python -m radlib.run verify --study open
"""

import argparse
import os
import sys
from pathlib import Path

from radlib.errors import UserError
from radlib.run import choose
from radlib.study import Study, load_study

# PyTorch, papermill and DVC take seconds to import, and most commands here do without one of them: each
# command imports what it needs.


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake prints one sentence and returns 1."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given) or 0
    except UserError as exc:
        print(f"\nStopped: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if "DVC_STAGE" not in os.environ:  # a stage leaves the last word to the command that runs them all
            print("\nStopped. What is finished is kept; make study goes on with the rest.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m radlib.run")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run, about: str, *options: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about)
        added.set_defaults(run=run)
        for option in options:
            added.add_argument(option, default="")
        return added

    one = command("study", study, "choose a study, carry it out, keep the record", "--study", "--raw")
    one.add_argument("--stage", default="", help="only this stage of dvc.yaml and those before it")
    command("choose", choose_study, "make a study the one that dvc repro runs", "--study", "--raw")
    command("complete", complete, "the first stage: is study.yaml what params.yaml says?")
    one = command("check-data", check, "say which data a study finds, and what is wrong", "--study", "--raw")
    one.add_argument("--quick", action="store_true", help="count only, open no image")
    one = command("plan", print_plan, "say what a study will cost, after a short calibration", "--study")
    one.add_argument("--devices", type=int, help="graphics cards or cores; default: this machine's")
    one = command("notebook", notebook, "run a numbered notebook through papermill")
    one.add_argument("name")
    one.add_argument("parameters", nargs="*", metavar="key=value")
    command("checkpoint", import_weights, "check and import published weights").add_argument("name")
    command("record", record, "put predictions, dvc.lock and the provenance into the report")
    one = command("verify", verify, "compute a committed report again and compare", "--study")
    one.add_argument("--retrain", action="store_true", help="the whole study, in a clone")
    return parser


def study(given: argparse.Namespace) -> int:
    """`make study`: choose, `dvc repro`, record."""
    from radlib.run.stages import check_stage, repro

    choose.choose(given.study, given.raw)
    if given.stage:
        check_stage(load_study(), given.stage)
    code = repro(given.stage)
    if code == 0 and not given.stage:
        record(given)
    return code


def choose_study(given: argparse.Namespace) -> None:
    choose.choose(given.study, given.raw)


def complete(_: argparse.Namespace) -> None:
    choose.complete_in_dvc(load_study())


def check(given: argparse.Namespace) -> int:
    """Print what `check_data` finds, changing nothing; 1 where something is missing or unreadable."""
    from radlib.networks.check_networks import network_faults
    from radlib.run.check_data import check_data, report

    named = _named(given)
    checked = check_data(named, Path(given.raw).expanduser() if given.raw else None, given.quick)
    print(report(named, checked, given.quick))
    faults = network_faults(named)
    for fault in faults:
        print(f"Error: {fault}")
    return int(any(one.errors for one in checked) or bool(faults))


def print_plan(given: argparse.Namespace) -> None:
    """Print what `radlib.run.plan` expects of a study, changing nothing.

    Raises:
        UserError: fewer than one device.
    """
    from radlib.run.plan import planned

    if given.devices is not None and given.devices < 1:
        raise UserError(f"--devices {given.devices}: at least one device must compute; give 1 or more")
    named = _named(given)
    choose.check_networks(named)
    print(planned(named, given.devices))


def notebook(given: argparse.Namespace) -> None:
    from radlib.run.notebooks import run_notebook

    run_notebook(given.name, dict(p.split("=", 1) for p in given.parameters))


def import_weights(given: argparse.Namespace) -> None:
    """Check a published checkpoint and bring it into `models/`."""
    from radlib.networks.checkpoints import import_checkpoint

    for path in import_checkpoint(load_study(), given.name):
        print(f"imported {path}")


def record(_: argparse.Namespace) -> None:
    from radlib.run.stages import record

    record(load_study())


def verify(given: argparse.Namespace) -> int:
    """Print what `verify` finds of a report, by default that of params.yaml; 1 where it does not hold."""
    from radlib.report.verify import verify

    said, holds = verify(given.study or load_study().name, given.retrain)
    print(said)
    return int(not holds)


def _named(given: argparse.Namespace) -> Study:
    return load_study(path=choose.study_file(given.study) if given.study else None)
