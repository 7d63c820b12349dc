"""Processes that work for this one: each does one task after the other, and whatever ends this one ends them.

They are plain processes of the same Python, started anew and not forked: threads and devices that are in use here do not
bear a fork. They talk through their standard input and output: a message is a pickle between processes of one program,
and arrays follow it as they lie in memory, so that none is copied whole.

    to a worker      what to make first: a function of no arguments that gives the handler; then task after task
    from a worker    for each: notes and warnings as they come, and then what was made of it, or the error
"""

import os
import pickle
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from io import BufferedIOBase
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple, Self, TypeVar, cast

Note = Callable[[Any], object]
"""Tells the process that asked how far the work is."""
Handler = Callable[[Any, Note], Any]
"""What a worker makes of a task; it may send notes on the way."""
Ask = Callable[[Any], Any]
"""Has a worker do a task, and gives its answer."""
Room = Callable[[int], Any]
"""Gives a writable buffer of so many bytes."""

Result = TypeVar("Result")

_PROGRAM = "from elmokit.embedding.workers import serve; serve({module!r})"


Kind = Literal["note", "warning", "answer", "error"]


class _Message(NamedTuple):
    """What a worker sends."""

    kind: Kind
    content: Any


class Crew:
    """Worker processes for one job. They begin to start at once, importing what they need, and end with the `with` block.

    Args:
        count: How many.
        module: What they import at once, as what they will be asked for needs it.

    Raises:
        OSError: The system refuses another process.
    """

    def __init__(self, count: int, module: str = __name__) -> None:
        self.count = count
        """How many they are."""
        self.room: Room = bytearray
        """Where large arrays of their answers are put."""
        self.note: Note = lambda note: None
        """Takes the notes that workers send, in any thread."""
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count, "elmokit-worker")  # each waits for one worker
        self._workers: list[subprocess.Popen[bytes]] = []
        self._begun = False
        try:
            with _signals_held():  # else an interrupt might leave a worker that is in no list
                for _ in range(count):
                    self._workers.append(_start(module))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def begin(self, make: Callable[[], Handler]) -> None:
        """Have every worker get ready, once, and wait for it.

        Args:
            make: Makes a worker's handler, there; it must be a module's function, or a `partial` of one.

        Raises:
            Exception: What `make` raised in a worker.
            ValueError: A worker ended, or they have begun before.
        """
        if self._begun:
            raise ValueError("these workers have a job already: start new ones for another")
        self._begun = True
        started = [self._threads.submit(self._ask, worker, make) for worker in self._workers]
        for worker, future in zip(self._workers, started, strict=True):
            future.result()
            self._idle.put(worker)

    def run(self, work: Callable[[Ask], Result]) -> Future[Result]:
        """Have work done with the next worker that is idle.

        Args:
            work: Is given what asks that worker; it is called in another thread. What it asks raises what the worker's
                handler raises, or a `ValueError` if the worker ended.
        """

        def with_a_worker() -> Result:
            worker = self._idle.get()
            try:
                return work(lambda task: self._ask(worker, task))
            finally:
                self._idle.put(worker)

        return self._threads.submit(with_a_worker)

    def _ask(self, worker: subprocess.Popen[bytes], task: Any) -> Any:
        """Send a task; take what comes until its answer."""
        assert worker.stdin is not None, "it was started with a pipe"
        answers = cast(BufferedIOBase, worker.stdout)  # a pipe for bytes, which typeshed calls any kind of file
        with _expecting(worker):
            send(task, worker.stdin)
        while True:
            with _expecting(worker):
                message: _Message = receive(answers, self.room)
            if message.kind == "answer":
                return message.content
            if message.kind == "error":
                raise message.content
            if message.kind == "warning":
                warnings.warn(message.content, stacklevel=2)
            else:
                self.note(message.content)

    def _end(self) -> None:
        """End all workers, whatever they do: nothing is theirs alone."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                with suppress(OSError):  # what was to be sent to a worker that has ended
                    if pipe is not None:
                        pipe.close()


def crew_of(workers: int, module: str = __name__) -> AbstractContextManager[Crew | None]:
    """Start so many workers, or none if one process is to do the work: then this one does.

    Raises:
        ValueError: There would be nobody to do it.
        OSError: The system refuses another process.
    """
    if workers < 1:
        raise ValueError(f"--workers must be 1 or more, not {workers}")
    return nullcontext() if workers == 1 else Crew(workers, module)


def _start(module: str) -> subprocess.Popen[bytes]:
    """Start a worker that no Ctrl-C reaches, while signals are held: this process decides what an interrupt means."""
    # -P: as for `elmo` itself, a file beside the user's own is no module of Python.
    command = [sys.executable, "-P", "-c", _PROGRAM.format(module=module)]
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # on Windows
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, creationflags=group)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back that end a process: one that is started in the block never gets them, this one does after it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _expecting(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """Say what has become of a worker if it does not take or give what it should."""
    try:
        yield
    except (BrokenPipeError, EOFError, pickle.UnpicklingError) as error:
        with suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=10)
        status = worker.returncode
        if status is not None and status < 0:
            end = f"was ended by {signal.Signals(-status).name}"
        else:
            end = "does not answer" if status is None else f"ended with status {status}"
        message = f"a worker process {end}; if memory ran out, fewer --workers or a smaller --batch-tokens need less"
        raise ValueError(message) from error
    except BaseException:
        worker.kill()  # half a message is left
        raise


def serve(module: str) -> None:
    """Do what the process asks for that has started this one, until it ends: the whole life of a worker.

    Args:
        module: What is imported before anything is asked.
    """
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (
        suppress(EOFError, BrokenPipeError),  # the other process is gone, which closing the files may be the first to see
        os.fdopen(os.dup(0), "rb") as tasks,
        os.fdopen(os.dup(1), "wb") as answers,
    ):
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)  # what a library prints must not stand among the answers

        def tell(kind: Kind, content: Any) -> None:
            send(_Message(kind, content), answers)

        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: tell("warning", str(message))
        failed = _import(module)
        try:
            # Read in any case: who asks later must find a worker that answers, and not one that has ended.
            make = receive(tasks)
            if failed is not None:
                raise failed
            handle: Handler = make()
        except Exception as error:
            tell("error", _sendable(error))
            return
        tell("answer", None)
        while True:
            _answer(handle, receive(tasks), tell)


def _import(module: str) -> Exception | None:
    """Import a module; give what went wrong."""
    try:
        import_module(module)
    except Exception as error:
        return error
    return None


def _answer(handle: Handler, task: Any, tell: Callable[[Kind, Any], None]) -> None:
    """Do one task; what was made is gone before the next one comes."""
    try:
        answer = handle(task, partial(tell, "note"))
    except Exception as error:
        tell("error", _sendable(error))
    else:
        tell("answer", answer)


def _sendable(error: Exception) -> Exception:
    """Give an error as another process can raise it, with a note of where it was raised here."""
    error.add_note(f"in a worker process: {traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some cannot be made again from their arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def send(message: Any, stream: IO[bytes]) -> None:
    """Write a message, and what arrays hold after it."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, 5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    pickle.dump((head, [part.nbytes for part in parts]), stream)
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: BufferedIOBase, room: Room = bytearray) -> Any:
    """Read a message.

    Raises:
        EOFError: There is none, or not all of it.
    """
    head, sizes = pickle.load(stream)
    buffers = []
    for size in sizes:
        buffer = room(size)
        left = memoryview(buffer).cast("B")
        while left:
            read = stream.readinto(left)
            if not read:
                raise EOFError
            left = left[read:]
        buffers.append(buffer)
    return pickle.loads(head, buffers=buffers)
