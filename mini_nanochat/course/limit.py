"""A time limit that holds in any Python loop, on every system, and that a busy machine does not use up."""

from __future__ import annotations

import ctypes
import faulthandler
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mini_nanochat.course.findings import BUSY, TooSlow


@contextmanager
def time_limit(seconds: float, what: str, stderr: int) -> Iterator[None]:
    """Throws TooSlow into code that works for longer than `seconds`.

    What counts is the time of the processor, because other programs may be busy too; but after BUSY times
    as long on the clock it ends in any case. Works in any Python loop, on every system. For a loop inside a C
    function, which no exception can reach, the process ends a little later; `check` then says which test it was.
    """
    main, lock, over = threading.get_ident(), threading.Lock(), threading.Event()
    worked, end = time.process_time() + seconds, time.monotonic() + BUSY * seconds
    message = f"{what} ran for more than {seconds:g} s and was stopped."
    exception = type("TooSlow", (TooSlow,), {"__str__": lambda _: message})

    def watch() -> None:
        while not over.wait(seconds / 10):
            with lock:
                if over.is_set() or (time.process_time() < worked and time.monotonic() < end):
                    continue
                return _throw(main, exception)

    threading.Thread(target=watch, daemon=True).start()
    faulthandler.dump_traceback_later((BUSY + 2) * seconds, exit=True, file=stderr)
    try:
        yield
    finally:
        with lock:
            over.set()
        _throw(main, None)
        faulthandler.cancel_dump_traceback_later()


def _throw(thread: int, exception: type[BaseException] | None) -> None:
    target = ctypes.py_object(exception) if exception else ctypes.c_void_p(0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), target)
