"""How a command ends: every error is one line on standard error and a documented exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

MISUSE = 2
DEPENDENCY_DOWN = 4
INTERRUPTED = 130
BROKEN_PIPE = 141
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def ended_in_one_line(command: Callable[[], None]) -> None:
    """Run a command; whatever it raises ends the process as one line and an exit code."""
    from typer.exceptions import TyperException

    from baton.core.errors import BatonError

    # asyncio turns Python's own handling of Ctrl-C into the cancelling of a
    # task, which a vendor's coroutine may outlive; it leaves a handler of ours.
    signal.signal(signal.SIGINT, _interrupt)
    try:
        command()
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except BatonError as error:
        _end(error, str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what was finished is kept\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe went away; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        _end(error, _about_the_machine(error), DEPENDENCY_DOWN)
    except TyperException as error:
        _end(error, _about_the_words(error), MISUSE)
    except Exception as error:  # noqa: BLE001 - the last resort of a command line
        beneath = _full_disk_beneath(error)
        if beneath:
            _end(error, _about_the_machine(beneath), DEPENDENCY_DOWN)
        _end(error, f"unexpected {type(error).__name__}: {error}. Run baton --debug for the traceback.", 1)


def _interrupt(number: int, frame: object) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def _about_the_words(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    message = getattr(error, "format_message", error.__str__)().rstrip(".")
    stop = "" if message.endswith("?") else "."
    return f"{message}{stop} See {context.command_path if context else 'baton'} --help."


def _full_disk_beneath(error: BaseException | None) -> OSError | None:
    """Find the full disk that a vendor has wrapped into an error of its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def _about_the_machine(error: OSError) -> str:
    place = f" at {error.filename}" if error.filename else ""
    if error.errno in FULL:
        return f"the disk is full{place}: {error.strerror}. Free some space and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission{place}: {error.strerror}. Pass --home with a folder you may write."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"a file is in the way{place}: {error.strerror}. Move it, or pass --home with another folder."
    return f"the machine refused{place}: {error.strerror or error}. Mend that and run the same command again."


def _end(error: BaseException, line: str, code: int) -> None:
    if os.environ.get("BATON_DEBUG"):
        import traceback

        traceback.print_exception(error)
    sys.stderr.write("error: " + " ".join(line.split()) + "\n")
    sys.exit(code)
