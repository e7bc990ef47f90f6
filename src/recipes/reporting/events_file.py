"""A TensorBoard event file, written at once and in the caller's thread.

The writers of TensorBoard and PyTorch hand records to a thread of their own; on a full disk that thread dies with a traceback and the run
hears of it later. One record costs some 20 microseconds here, so nothing is gained by a thread.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


class EventsFile:
    """Appends summaries to a new event file in a folder. Raises OSError where the disk does."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """`purge_step`: what older files of the folder hold from this step on is hidden."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = open(folder / name, "wb")  # noqa: SIM115  closed by close()
        self._records = RecordWriter(self._file)
        self._event = Event
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, *summaries: Any) -> None:
        """Append `Summary` protocol buffers, and let readers see them."""
        for summary in summaries:
            self._write(self._event(step=step, summary=summary))
        self._file.flush()

    def close(self) -> None:
        with suppress(OSError):  # what a full disk did not take was already told
            self._file.close()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
