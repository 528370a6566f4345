"""The one exception for what a user can put right."""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """One sentence that says what is wrong, where, and what to do about it.

    A notebook shows the sentence alone: IPython asks an exception for `_render_traceback_` before it
    draws a traceback, and the reader of a notebook needs the remedy, not our call stack.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Stopped: {self}"]


@contextmanager
def explained(kinds: type[Exception] | tuple[type[Exception], ...], what: str, remedy: str) -> Iterator[None]:
    """What a library raises about a file or a value, as one sentence: `what (its reason); remedy`."""
    try:
        yield
    except kinds as exc:
        said = repr(exc) if isinstance(exc, KeyError) else str(exc)
        reason = (said.splitlines() or [type(exc).__name__])[0]
        raise UserError(f"{what} ({reason}); {remedy}") from exc


@contextmanager
def about(what: str) -> Iterator[None]:
    """Whatever is wrong, the sentence says first of what: `dataset 'breast_us': ...`."""
    try:
        yield
    except UserError as exc:
        raise UserError(f"{what}: {exc}") from exc


def listed(names: Iterable[object], most: int = 5, between: str = ", ") -> str:
    """`a, b, c (and 4 more)`: all names of what is wrong, but not a page of them."""
    names = [str(name) for name in names]
    more = f" (and {len(names) - most} more)" if len(names) > most else ""
    return between.join(names[:most]) + more


def of_task(function: Callable) -> Callable:
    """What `radlib.stats` refuses (ValueError) becomes a UserError that names the function's `task`."""

    @functools.wraps(function)
    def asked(*args, **named):
        try:
            return function(*args, **named)
        except ValueError as exc:
            raised_by = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(exc.__traceback__)]
            if not raised_by[-1].startswith("radlib.stats."):
                raise
            task = inspect.signature(function).bind(*args, **named).arguments["task"]
            raise UserError(f"task '{task}': {exc}") from exc

    return asked
