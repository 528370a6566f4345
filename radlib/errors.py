"""The one exception for what a user can put right."""


class UserError(Exception):
    """One sentence that says what is wrong, where, and what to do about it.

    A notebook shows the sentence alone: IPython asks an exception for `_render_traceback_` before it
    draws a traceback, and the reader of a notebook needs the remedy, not our call stack.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Stopped: {self}"]
