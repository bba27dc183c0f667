"""The whole way in one screen: a video in, answers and a timeline out. Runs on a CPU, downloads nothing.

python examples/index_one_video.py VIDEO "red car turning left"
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import tubelet


def main(video: str, sentence: str) -> None:
    with TemporaryDirectory() as home:
        settings = tubelet.load_settings({"home": Path(home)})
        for report in tubelet.index(video, settings=settings).videos:
            print(f"{report.uri}: {report.state} {report.num_objects} objects {report.reason}")
        for hit in tubelet.search(sentence, limit=3, settings=settings).hits:
            print(f"{hit.score:.2f}  {hit.start_s:6.1f} to {hit.end_s:6.1f} s  {hit.caption}")
            print(f"      because: {'; '.join(hit.why)}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
