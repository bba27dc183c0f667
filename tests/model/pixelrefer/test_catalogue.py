"""What is known about models, with and without them at hand."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.model.pixelrefer.checkpoint_factory import make_folder
from tubelet.errors import ModelError, UnknownNameError
from tubelet.model.pixelrefer import catalogue
from tubelet.model.pixelrefer.config import PUBLISHED_SHAPES
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG


def test_every_known_model_has_shapes() -> None:
    assert catalogue.KNOWN_MODELS.keys() == PUBLISHED_SHAPES.keys()


def test_published_sizes_are_those_of_their_parts() -> None:
    """Qwen2.5-1.5B has 1.54 and Qwen2.5-7B 7.62 billion parameters, SigLIP So400m 0.41."""
    small = catalogue.count_parameters(PUBLISHED_SHAPES["PixelRefer-Lite-2B"])
    assert small["decoder"] == 1_543_714_304
    assert small["vision encoder"] == pytest.approx(0.412e9, rel=0.01)
    large = catalogue.count_parameters(PUBLISHED_SHAPES["PixelRefer-Lite-7B"])
    assert large["decoder"] + large["output head"] == 7_615_616_512


def test_a_folder_is_described_from_its_headers(tmp_path: Path) -> None:
    config = dataclasses.replace(DEBUG_CONFIG, vocab_size=320)
    folder, network = make_folder(tmp_path, config, num_shards=2)
    info = catalogue.describe_model(folder)
    assert info.folder == folder
    assert info.dtypes == ("float32",)
    assert info.num_parameters == sum(weight.numel() for weight in network.parameters())
    assert info.num_bytes > 4 * info.num_parameters  # the unused weights are stored too
    assert info.cost.prefill > 0


def test_a_published_model_that_is_not_here_is_described_by_its_shapes() -> None:
    info = catalogue.describe_model("PixelRefer-Lite-2B")
    assert info.folder is None
    assert info.num_bytes == 2 * info.num_parameters == 3_941_255_392


@pytest.mark.parametrize("name", ["PixelRefer-Lite-2B", "someone/some-model"])
def test_a_model_that_was_not_pulled_says_how(name: str) -> None:
    with pytest.raises(ModelError, match=f"tubelet models pull {name}"):
        catalogue.find_checkpoint(name)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="PixelRefer-Lite-7B"):
        catalogue.find_checkpoint("nonsense")


def test_pulling_says_what_it_fetches_and_how_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = [
        SimpleNamespace(rfilename="model.safetensors", size=3_900_000_000),
        SimpleNamespace(rfilename="config.json", size=2_000),
        SimpleNamespace(rfilename="modeling.py", size=10**12),
    ]
    facts = SimpleNamespace(sha="abc123", siblings=files)
    asked: dict[str, object] = {}

    def download(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(catalogue.HfApi, "model_info", lambda *_, **__: facts)
    monkeypatch.setattr(catalogue, "snapshot_download", download)
    said: list[str] = []
    assert catalogue.pull_model("PixelRefer-Lite-2B", say=said.append) == tmp_path
    assert said[0] == "Fetching Alibaba-DAMO-Academy/PixelRefer-Lite-2B at abc123: 2 files, 3.9 GB"
    assert asked["revision"] == "abc123"
    assert "*.py" not in asked["allow_patterns"]  # type: ignore[operator]


def test_pulling_without_network_says_what_would_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    # closed again: a real connection that is refused
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match="profile `bundled`"):
        catalogue.pull_model("PixelRefer-Lite-2B", say=lambda _: None)


def test_a_pulled_model_is_found_by_its_short_and_its_full_name(hub_cache: Path) -> None:
    stored = hub_cache / "models--Alibaba-DAMO-Academy--PixelRefer-Lite-2B"
    snapshot = stored / "snapshots" / "0123abc"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("0123abc")
    make_folder(snapshot, dataclasses.replace(DEBUG_CONFIG, vocab_size=320))
    for name in ("PixelRefer-Lite-2B", "Alibaba-DAMO-Academy/PixelRefer-Lite-2B"):
        assert catalogue.is_pulled(name)
        assert catalogue.find_checkpoint(name) == snapshot
    assert catalogue.describe_model("PixelRefer-Lite-2B").folder == snapshot
    assert not catalogue.is_pulled("PixelRefer-7B")
