"""The command line.

python -m radlib.run study --study open --raw /where/my/downloads/are
python -m radlib.run check-data --study open --raw /where/my/downloads/are
python -m radlib.run plan --study paper --devices 8
python -m radlib.run notebook 04_transfer task=thyroid_us
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
    """The first line of each command's function says what it is about."""
    parser = argparse.ArgumentParser(prog="python -m radlib.run")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run, *options: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=run.__doc__.splitlines()[0])
        added.set_defaults(run=run)
        for option in options:
            added.add_argument(option, default="")
        return added

    one = command("study", study, "--study", "--raw")
    one.add_argument("--stage", default="", help="only this stage of dvc.yaml and those before it")
    command("complete", complete)
    one = command("check-data", check, "--study", "--raw")
    one.add_argument("--quick", action="store_true", help="count only, open no image")
    one = command("plan", print_plan, "--study")
    one.add_argument("--devices", type=int, help="graphics cards or cores; default: this machine's")
    one = command("notebook", notebook)
    one.add_argument("name")
    one.add_argument("parameters", nargs="*", metavar="key=value")
    command("checkpoint", import_weights).add_argument("name")
    one = command("verify", verify, "--study")
    one.add_argument("--retrain", action="store_true", help="the whole study, in a clone")
    return parser


def study(given: argparse.Namespace) -> int:
    """Choose a study, carry it out by `dvc repro`, and keep the record."""
    from radlib.run import stages

    choose.choose(given.study, given.raw)
    if given.stage:
        stages.check_stage(load_study(), given.stage)
    code = stages.repro(given.stage)
    if code == 0 and not given.stage:
        stages.record(load_study())
    return code


def complete(_: argparse.Namespace) -> None:
    """The first stage: study.json says what params.yaml says."""
    choose.complete_in_dvc(load_study())


def check(given: argparse.Namespace) -> int:
    """Say which data a study finds, and what is wrong; 1 where something is missing or unreadable."""
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
    """Say what a study will cost, after a short calibration."""
    from radlib.run.plan import planned

    if given.devices is not None and given.devices < 1:
        raise UserError(f"--devices {given.devices}: at least one device must compute; give 1 or more")
    named = _named(given)
    choose.check_networks(named)
    print(planned(named, given.devices))


def notebook(given: argparse.Namespace) -> None:
    """Run a numbered notebook through papermill."""
    from radlib.run.notebooks import run_notebook

    for parameter in given.parameters:
        if "=" not in parameter:
            raise UserError(f"'{parameter}' is no parameter; write name=value, such as task=thyroid_us")
    run_notebook(given.name, dict(p.split("=", 1) for p in given.parameters))


def import_weights(given: argparse.Namespace) -> None:
    """Check published weights and bring them into `models/`."""
    from radlib.networks.checkpoints import import_checkpoint

    here = load_study()
    for path in import_checkpoint(here, here.pick(given.name, here.checkpoints, "checkpoint")):
        print(f"imported {path}")


def verify(given: argparse.Namespace) -> int:
    """Compute a committed report again, by default that of params.yaml; 1 where it does not hold."""
    from radlib.report.verify import verify

    said, holds = verify(given.study or load_study().name, given.retrain)
    print(said)
    return int(not holds)


def _named(given: argparse.Namespace) -> Study:
    return load_study(path=choose.study_file(given.study) if given.study else None)
