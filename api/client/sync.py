"""The client whose calls return when they are done. What each call sends is in `calls.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from tubelet.api.client import calls
from tubelet.api.client.calls import Call
from tubelet.api.client.shapes import (
    AnswerState,
    BatchPage,
    BatchState,
    ExportState,
    ItemPage,
    ObjectState,
    SearchPage,
    UploadState,
    VideoPage,
    VideoState,
)

T = TypeVar("T")


class Client:
    """Calls the service at an address. Use it in a `with` block, or `close` it."""

    def __init__(
        self,
        address: str,
        *,
        key: str = "",
        timeout_s: float = calls.TIMEOUT_S,
        retries: int = calls.NUM_RETRIES,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._retries = retries
        self._http = httpx2.Client(base_url=address, headers=headers, timeout=timeout_s)

    def submit(
        self,
        sources: Sequence[str],
        *,
        name: str = "",
        priority: int = 0,
        options: Mapping[str, Any] | None = None,
        webhook: str = "",
        idempotency_key: str = "",
    ) -> BatchState:
        """Ask for videos to be indexed. `options` decide the rows; `webhook` is told when it has ended."""
        return self._do(
            calls.submit(
                sources,
                name=name,
                priority=priority,
                options=options,
                webhook=webhook,
                idempotency_key=idempotency_key,
            )
        )

    def list_batches(self, *, limit: int = 20, cursor: str = "") -> BatchPage:
        """Batches, the newest first; `cursor` is the page's before."""
        return self._do(calls.list_batches(limit, cursor))

    def get_batch(self, batch_id: str) -> BatchState:
        """How far a batch is."""
        return self._do(calls.get_batch(batch_id))

    def list_items(
        self, batch_id: str, *, states: Sequence[str] = (), limit: int = 100, cursor: str = ""
    ) -> ItemPage:
        """The sources of a batch, and what became of each."""
        return self._do(calls.list_items(batch_id, states, limit, cursor))

    def cancel(self, batch_id: str) -> BatchState:
        """End a batch; what is indexed stays."""
        return self._do(calls.steer(batch_id, "cancel"))

    def pause(self, batch_id: str) -> BatchState:
        """Hold a batch."""
        return self._do(calls.steer(batch_id, "pause"))

    def resume(self, batch_id: str) -> BatchState:
        """Let a batch go on that was paused."""
        return self._do(calls.steer(batch_id, "resume"))

    def retry(self, batch_id: str) -> BatchState:
        """Let the failed sources of a batch run again."""
        return self._do(calls.steer(batch_id, "retry"))

    def delete_batch(self, batch_id: str) -> None:
        """Forget a batch that has ended."""
        self._do(calls.delete_batch(batch_id))

    def search(
        self,
        query: str = "",
        *,
        structured: Mapping[str, Any] | None = None,
        like: str = "",
        image: bytes = b"",
        crop: Sequence[float] = (),
        filters: Mapping[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
        cursor: str = "",
        verify: int = 0,
        verify_seconds: float = 20.0,
    ) -> SearchPage:
        """Find objects by a sentence or a structured query, by an object, by a picture, by limits.

        `image` is a JPEG or PNG, and `crop` where in it the object is: x0, y0, x1, y1 in pixels. The
        captioner checks `verify` of the best hits.
        """
        return self._do(
            calls.search(
                query,
                structured=structured,
                like=like,
                image=image,
                crop=crop,
                filters=filters,
                limit=limit,
                min_score=min_score,
                cursor=cursor,
                verify=verify,
                verify_seconds=verify_seconds,
            )
        )

    def list_videos(self, *, limit: int = 100, cursor: str = "") -> VideoPage:
        """Videos, by address."""
        return self._do(calls.list_videos(limit, cursor))

    def get_video(self, video_id: str) -> VideoState:
        """A video."""
        return self._do(calls.get_video(video_id))

    def get_timeline(self, video_id: str, *, format: str = "jsonl") -> bytes:
        """What each object of a video did, in a format that is one file."""
        return self._do(calls.get_timeline(video_id, format))

    def get_object(self, object_id: str) -> ObjectState:
        """An object with its moments and path."""
        return self._do(calls.get_object(object_id))

    def get_thumbnail(self, object_id: str) -> bytes:
        """A JPEG of an object."""
        return self._do(calls.get_thumbnail(object_id))

    def get_clip(
        self,
        object_id: str,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        annotated: bool = True,
    ) -> bytes:
        """An MP4 of an object."""
        return self._do(calls.get_clip(object_id, start_s, end_s, annotated))

    def ask(self, object_id: str, question: str, *, moment_id: str = "") -> AnswerState:
        """Ask the describing model about an object."""
        return self._do(calls.ask(object_id, question, moment_id))

    def begin_export(
        self, format: str = "jsonl", *, videos: Sequence[str] = (), **options: Any
    ) -> ExportState:
        """Begin an export; `options` are its limits."""
        return self._do(calls.begin_export(format, videos, options))

    def get_export(self, export_id: str) -> ExportState:
        """How an export stands."""
        return self._do(calls.get_export(export_id))

    def get_export_content(self, export_id: str) -> bytes:
        """The file of an export that is done."""
        return self._do(calls.get_export_content(export_id))

    def upload(self, path: Path, *, name: str = "") -> UploadState:
        """Send a video; its `source` goes into a batch."""
        with path.open("rb") as file:
            return self._do(calls.upload(name or path.name), content=file)

    def upload_to_s3(self, path: Path, *, name: str = "") -> UploadState:
        """Send a video straight to S3, where the service keeps its uploads there."""
        handed = self._do(calls.expect_upload(name or path.name, path.stat().st_size))
        with path.open("rb") as file:
            calls.check_put(httpx2.request(**calls.put_upload(handed), content=file))
        return self._do(calls.complete_upload(handed))

    def watch(self, batch_id: str) -> Iterator[BatchState]:
        """The progress of a batch whenever it changes, until it has ended."""
        call, reader = calls.watch(batch_id), calls.EventReader()
        with self._http.stream(call.method, call.path, timeout=None) as answer:
            if answer.status_code != 200:
                answer.read()
                calls.read_outcome(call, answer, self._http.base_url)
            for line in answer.iter_lines():
                if (state := reader.read(line)) is not None:
                    yield state

    def _do(self, call: Call[T], *, content: Any = None) -> T:
        """Do a call, again and again where that may help."""
        attempt = 0
        while True:
            outcome: httpx2.Response | httpx2.TransportError
            try:
                outcome = self._http.request(**calls.to_request(call, content))
            except httpx2.TransportError as error:
                outcome = error
            answer = outcome if isinstance(outcome, httpx2.Response) else None
            wait_s = calls.choose_wait(call, attempt, self._retries, answer)
            if wait_s is None:
                return calls.read_outcome(call, outcome, self._http.base_url)
            time.sleep(wait_s)
            attempt += 1

    def close(self) -> None:
        """Give up connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
