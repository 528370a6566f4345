"""The secret that patients and UIDs are hashed with. It is read, and never written anywhere."""

import os
from pathlib import Path

from radlib.errors import UserError

VARIABLE = "RADLIB_SALT"
_SHORTEST = 16
_HOW = "python -c 'import secrets; print(secrets.token_hex(32))' > salt.txt"


def read_salt(file: Path | None = None) -> str:
    """The salt in a file, or without one in the environment variable RADLIB_SALT.

    The same salt gives a patient the same hash in every database; who knows it can test guesses of names.

    Raises:
        UserError: none, unreadable, or short enough to be guessed.
    """
    where = str(file) if file else f"the environment variable {VARIABLE}"
    try:
        salt = (file.read_text(encoding="utf-8") if file else os.environ.get(VARIABLE, "")).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UserError(f"the salt cannot be read from {file} ({exc}); make one: {_HOW}") from exc
    return check_salt(salt, where)


def check_salt(salt: str, where: str = "the call") -> str:
    """The salt itself; UserError where it is none, or short enough to be guessed."""
    if not salt:
        raise UserError(
            f"no salt in {where}, and without one patients are not hashed; make one ({_HOW}), keep it to "
            f"yourself, and name the file, or set {VARIABLE}"
        )
    if len(salt) < _SHORTEST:
        raise UserError(
            f"the salt in {where} has {len(salt)} characters, which can be guessed; use at least "
            f"{_SHORTEST}: {_HOW}"
        )
    return salt
