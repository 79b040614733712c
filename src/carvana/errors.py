"""The one error that is meant for people."""


class UserError(Exception):
    """Something that the person at the keyboard can mend.

    Its message says what is wrong, where (file, key or row) and what to do next. Stages print it without
    a traceback and exit with status 1; every other exception is a fault of ours and keeps its traceback.
    """


def some(names: list[str], limit: int = 5) -> str:
    """The first `limit` names and how many more there are, for a message."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, cut at 200 characters; the error's kind where it says nothing."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
