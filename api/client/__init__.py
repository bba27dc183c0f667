"""A client of the HTTP service, for programs: `Client`, and `AsyncClient` with the same calls to be awaited.

    with Client("http://127.0.0.1:8000") as client:
        for hit in client.search("red car turning left", limit=3)["hits"]:
            print(hit["score"], hit["caption"])

Calls that fail for a while are tried again. What the service refuses is an `ApiError` with its code.
"""

from tubelet.api.client.asynchronous import AsyncClient
from tubelet.api.client.failures import ApiError, ServiceAwayError
from tubelet.api.client.sync import Client

__all__ = ["ApiError", "AsyncClient", "Client", "ServiceAwayError"]
