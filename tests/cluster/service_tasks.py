"""Tasks that print and log, and one that waits: what the tests of the worker's surroundings call."""

import asyncio
import logging
import os
import threading
from pathlib import Path

from grpcflow import Grpcflow
from grpcflow.log import get_task_logger

app = Grpcflow("service")
logger = get_task_logger(__name__)


@app.task(name="service.speak")
def speak(word: str) -> int:
    """Says a word in each way that there is."""
    print("printed", word)
    logger.info("logged %s", word)
    logging.getLogger("shop.models").info("noted %s", word)
    return os.getpid()


@app.task(name="service.speak_async")
async def speak_async(word: str) -> int:
    """The same in a coroutine, with others between the pieces."""
    print("printed", end=" ")
    await asyncio.sleep(0)
    print(word)
    logger.info("logged %s", word)
    logging.getLogger("shop.models").info("noted %s", word)
    return os.getpid()


@app.task(name="service.wait_here")
def wait_here(door: str) -> int:
    """Waits until the file is there, in a frame that a dump of stacks must show."""
    Path(os.environ["NOTES"], f"waits-{os.getpid()}").touch()
    pause = threading.Event()
    while not Path(door).exists():
        pause.wait(0.02)
    return os.getpid()
