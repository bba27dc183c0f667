"""The client whose calls are awaited. What each call sends is in `calls.py`, as for the other client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
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


class AsyncClient:
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
        self._http = httpx2.AsyncClient(base_url=address, headers=headers, timeout=timeout_s)

    async def submit(
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
        return await self._do(
            calls.submit(
                sources,
                name=name,
                priority=priority,
                options=options,
                webhook=webhook,
                idempotency_key=idempotency_key,
            )
        )

    async def list_batches(self, *, limit: int = 20, cursor: str = "") -> BatchPage:
        """Batches, the newest first; `cursor` is the page's before."""
        return await self._do(calls.list_batches(limit, cursor))

    async def get_batch(self, batch_id: str) -> BatchState:
        """How far a batch is."""
        return await self._do(calls.get_batch(batch_id))

    async def list_items(
        self, batch_id: str, *, states: Sequence[str] = (), limit: int = 100, cursor: str = ""
    ) -> ItemPage:
        """The sources of a batch, and what became of each."""
        return await self._do(calls.list_items(batch_id, states, limit, cursor))

    async def cancel(self, batch_id: str) -> BatchState:
        """End a batch; what is indexed stays."""
        return await self._do(calls.steer(batch_id, "cancel"))

    async def pause(self, batch_id: str) -> BatchState:
        """Hold a batch."""
        return await self._do(calls.steer(batch_id, "pause"))

    async def resume(self, batch_id: str) -> BatchState:
        """Let a batch go on that was paused."""
        return await self._do(calls.steer(batch_id, "resume"))

    async def retry(self, batch_id: str) -> BatchState:
        """Let the failed sources of a batch run again."""
        return await self._do(calls.steer(batch_id, "retry"))

    async def delete_batch(self, batch_id: str) -> None:
        """Forget a batch that has ended."""
        await self._do(calls.delete_batch(batch_id))

    async def search(
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
        return await self._do(
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

    async def list_videos(self, *, limit: int = 100, cursor: str = "") -> VideoPage:
        """Videos, by address."""
        return await self._do(calls.list_videos(limit, cursor))

    async def get_video(self, video_id: str) -> VideoState:
        """A video."""
        return await self._do(calls.get_video(video_id))

    async def get_timeline(self, video_id: str, *, format: str = "jsonl") -> bytes:
        """What each object of a video did, in a format that is one file."""
        return await self._do(calls.get_timeline(video_id, format))

    async def get_object(self, object_id: str) -> ObjectState:
        """An object with its moments and path."""
        return await self._do(calls.get_object(object_id))

    async def get_thumbnail(self, object_id: str) -> bytes:
        """A JPEG of an object."""
        return await self._do(calls.get_thumbnail(object_id))

    async def get_clip(
        self,
        object_id: str,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        annotated: bool = True,
    ) -> bytes:
        """An MP4 of an object."""
        return await self._do(calls.get_clip(object_id, start_s, end_s, annotated))

    async def ask(self, object_id: str, question: str, *, moment_id: str = "") -> AnswerState:
        """Ask the describing model about an object."""
        return await self._do(calls.ask(object_id, question, moment_id))

    async def begin_export(
        self, format: str = "jsonl", *, videos: Sequence[str] = (), **options: Any
    ) -> ExportState:
        """Begin an export; `options` are its limits."""
        return await self._do(calls.begin_export(format, videos, options))

    async def get_export(self, export_id: str) -> ExportState:
        """How an export stands."""
        return await self._do(calls.get_export(export_id))

    async def get_export_content(self, export_id: str) -> bytes:
        """The file of an export that is done."""
        return await self._do(calls.get_export_content(export_id))

    async def upload(self, path: Path, *, name: str = "") -> UploadState:
        """Send a video; its `source` goes into a batch."""
        return await self._do(calls.upload(name or path.name), content=_read(path))

    async def upload_to_s3(self, path: Path, *, name: str = "") -> UploadState:
        """Send a video straight to S3, where the service keeps its uploads there."""
        size_bytes = (await anyio.Path(path).stat()).st_size
        handed = await self._do(calls.expect_upload(name or path.name, size_bytes))
        async with httpx2.AsyncClient() as http:
            calls.check_put(await http.request(**calls.put_upload(handed), content=_read(path)))
        return await self._do(calls.complete_upload(handed))

    async def watch(self, batch_id: str) -> AsyncIterator[BatchState]:
        """The progress of a batch whenever it changes, until it has ended."""
        call, reader = calls.watch(batch_id), calls.EventReader()
        async with self._http.stream(call.method, call.path, timeout=None) as answer:
            if answer.status_code != 200:
                await answer.aread()
                calls.read_outcome(call, answer, self._http.base_url)
            async for line in answer.aiter_lines():
                if (state := reader.read(line)) is not None:
                    yield state

    async def _do(self, call: Call[T], *, content: Any = None) -> T:
        """Do a call, again and again where that may help."""
        attempt = 0
        while True:
            outcome: httpx2.Response | httpx2.TransportError
            try:
                outcome = await self._http.request(**calls.to_request(call, content))
            except httpx2.TransportError as error:
                outcome = error
            answer = outcome if isinstance(outcome, httpx2.Response) else None
            wait_s = calls.choose_wait(call, attempt, self._retries, answer)
            if wait_s is None:
                return calls.read_outcome(call, outcome, self._http.base_url)
            await asyncio.sleep(wait_s)
            attempt += 1

    async def close(self) -> None:
        """Give up connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _read(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while block := await file.read(1 << 20):
            yield block
