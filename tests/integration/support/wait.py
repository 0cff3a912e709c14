"""Waiting for conditions, never for time."""
import time


def wait_for(condition, what, seconds=30, pause=0.02):
    """The condition's first true value; fails with `what` when it stays false for that long."""
    end = time.monotonic() + seconds
    error = None
    while True:
        try:
            value = condition()
            error = None
            if value:
                return value
        except (OSError, AssertionError) as exception:
            error = exception
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds} s not: {what}" + (f" ({error})" if error else ""))
        time.sleep(pause)
