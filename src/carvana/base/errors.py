"""Errors that the user can fix, shown without a traceback, and the door through which every file is read."""

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator

# What the system refuses, whatever a file holds; the stages have messages for these.
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """An error that the user can fix: its message says what is wrong, where, and what to do next.

    Stages print it without a traceback and exit with 1. Every other exception is a bug and keeps its traceback.
    """


@contextlib.contextmanager
def reading(where: object, complaint: str, advice: str, missing: str | None = None) -> Iterator[None]:
    """Raises UserError `<where> <complaint> (<reason>); <advice>` for whatever a parser raises in the block.

    Parsers raise almost anything on a damaged file, so that no list of types would be complete. `where` names the file,
    and the member or line if it is known. With `missing`, the message for a file that does not exist is `<where> is
    missing; <missing>`. UserErrors of the block stay as they are, and so do a full disk and a lack of permission.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (*FULL, *FORBIDDEN):
            raise
        if isinstance(error, FileNotFoundError) and missing:
            raise UserError(f"{where} is missing; {missing}") from None
        raise UserError(f"{where} {complaint} ({reason(error)}); {advice}") from error


def reason(error: BaseException) -> str:
    """Returns what an error says in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    words = " ".join(str(error).split())[:200]
    # A KeyError says no more than the key.
    return f"{type(error).__name__}: {words}" if isinstance(error, LookupError) else words or type(error).__name__


def some(names: list[str], limit: int = 5) -> str:
    """Returns the first `limit` names and how many more there are, for a message."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def near(name: str, known: Iterable[str], count: int = 1) -> str:
    """Returns `; did you mean …?` with the known names that are most like `name`; empty if there are none."""
    found = difflib.get_close_matches(name.lower(), list(known), n=count)
    return f"; did you mean {', '.join(found)}?" if found else ""
