"""An answer on its way to one reader, who may leave at any moment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.protocols import Delta
from models.serving.chat_stream import AnswerStream, chunk_lines, completion


@pytest.mark.parametrize("pause_s", [0.0, 0.005, 0.3], ids=["at once", "steadily", "slowly"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
def test_a_reader_who_left_is_noticed_however_fast_the_text_comes(whole: bool, pause_s: float) -> None:
    written, asked = 0, 0

    def endless(cancel: threading.Event) -> Iterator[Delta]:
        nonlocal written
        while not cancel.is_set():
            written += 1
            yield Delta(text="word ")
            time.sleep(pause_s)
        yield Delta(finish_reason="cancelled")

    async def gone() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    async def read() -> None:
        with ThreadPoolExecutor(1) as threads:
            answer = AnswerStream(endless, threads)
            await answer.start()
            if whole:
                await completion(answer, "m", gone)
            else:
                async for _ in chunk_lines(answer, "m", False, gone):
                    pass

    asyncio.run(asyncio.wait_for(read(), 60))
    assert asked == 2 and written > 0
