"""The secret that patients and UIDs are hashed with. It is read, and never written anywhere."""

import os
from pathlib import Path

from radlib.errors import UserError, explained

VARIABLE = "RADLIB_SALT"
_SHORTEST = 16
_HOW = "python -c 'import secrets; print(secrets.token_hex(32))' > salt.txt"


def read_salt(file: Path | None = None) -> str:
    """The salt in a file, or without one in the environment variable RADLIB_SALT.

    The same salt gives a patient the same hash in every database; who knows it can test guesses of names.

    Raises:
        UserError: none, unreadable, or short enough to be guessed.
    """
    if file is None:
        return check_salt(os.environ.get(VARIABLE, "").strip(), f"the environment variable {VARIABLE}")
    with explained(
        (OSError, UnicodeDecodeError), f"the salt cannot be read from {file}", f"make one: {_HOW}"
    ):
        salt = file.read_text(encoding="utf-8")
    return check_salt(salt.strip(), str(file))


def check_salt(salt: str, where: str = "the call") -> str:
    """The salt itself; UserError where it is none, or short enough to be guessed."""
    wrong = f"the salt in {where} has {len(salt)} characters, which can be guessed"
    if not salt:
        wrong = f"no salt in {where}, and without one patients are not hashed"
    if len(salt) < _SHORTEST:
        raise UserError(
            f"{wrong}; make one of at least {_SHORTEST} ({_HOW}), keep it to yourself, and name the file, or "
            f"set {VARIABLE}"
        )
    return salt
