"""The device process's side of the pipe to the pool: replies, and a sign of life between them."""

import threading
from typing import IO

from pydantic import BaseModel

from virnucpro_assets.inference.messages import Alive

HEARTBEAT_SECONDS = 2.0


class Replies:
    """Sends replies from any thread, each in one piece."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: BaseModel) -> None:
        """Write one line to the pool; BrokenPipeError if nobody listens any more."""
        line = memoryview(message.model_dump_json().encode() + b"\n")
        with self._lock:
            while line:
                line = line[self._stream.write(line) :]

    def beat(self) -> None:
        """Say `Alive` from now on, until the process ends."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(HEARTBEAT_SECONDS):
            try:
                self.send(Alive())
            except BrokenPipeError:
                return
