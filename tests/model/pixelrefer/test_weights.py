"""Checkpoints of the published layout: every way in, and every way to fail."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch

from tests.model.pixelrefer.checkpoint_factory import (
    make_byte_pair_tokenizer,
    make_folder,
    make_weights,
    write_folder,
)
from tests.model.pixelrefer.region_factory import make_captioner, make_requests
from tubelet.errors import ModelError
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner
from tubelet.model.pixelrefer.config import Paradigm, PixelReferConfig
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.weights import load_checkpoint, load_network, save_checkpoint

CONFIG = dataclasses.replace(DEBUG_CONFIG, vocab_size=320, stop_ids=(2,))
TIED = dataclasses.replace(CONFIG, tied_embeddings=True)
FULL = dataclasses.replace(CONFIG, paradigm="vision_object")


def _load(folder: Path) -> PixelRefer:
    return load_network(folder, device="cpu", dtype=torch.float32)


def _assert_equal(loaded: PixelRefer, wanted: PixelRefer) -> None:
    assert loaded.config == wanted.config
    state, wanted_state = loaded.state_dict(), wanted.state_dict()
    assert state.keys() == wanted_state.keys()
    assert all(torch.equal(state[name], wanted_state[name]) for name in state)
    assert not any(buffer.is_meta for buffer in loaded.buffers())


@pytest.mark.parametrize("config", [CONFIG, TIED, FULL], ids=["lite", "tied", "pixelrefer"])
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("num_shards", [1, 3])
def test_published_layouts_load(
    tmp_path: Path, config: PixelReferConfig, pickled: bool, num_shards: int
) -> None:
    folder, network = make_folder(tmp_path, config, num_shards=num_shards, pickled=pickled)
    _assert_equal(_load(folder), network)


def test_loaded_positions_are_those_of_a_network_built_directly(tmp_path: Path) -> None:
    folder, network = make_folder(tmp_path, CONFIG)
    loaded = dict(_load(folder).named_buffers())
    assert all(torch.equal(loaded[name], buffer) for name, buffer in network.named_buffers())


def test_weights_come_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG)
    network = load_network(folder, device="cpu", dtype=torch.bfloat16)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}
    assert network.decoder.rotary_emb.inv_freq.dtype == torch.float32


def test_missing_and_unexpected_names_are_reported_together(tmp_path: Path) -> None:
    weights = make_weights(make_debug_network(config=CONFIG))
    del weights["model.region_encoder.pos_linear.bias"]
    weights["model.region_encoder.surprise"] = torch.zeros(1)
    weights["model.norm.weight"] = torch.zeros(5)
    with pytest.raises(ModelError) as caught:
        _load(write_folder(tmp_path, CONFIG, weights))
    message = str(caught.value)
    assert "1 missing (model.region_encoder.pos_linear.bias)" in message
    assert "1 unexpected (model.region_encoder.surprise)" in message
    assert "model.norm.weight: (5,) for (48,)" in message


def test_a_long_report_is_summed_up_by_part(tmp_path: Path) -> None:
    weights = make_weights(make_debug_network(config=CONFIG))
    weights = {name: tensor for name, tensor in weights.items() if "vision_encoder.encoder" not in name}
    with pytest.raises(ModelError, match=r"32 missing \(model.vision_encoder.vision_encoder.\*: 32\)"):
        _load(write_folder(tmp_path, CONFIG, weights))


def test_a_head_beside_tied_embeddings_must_equal_them(tmp_path: Path) -> None:
    network = make_debug_network(config=TIED)
    weights = make_weights(network)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    _assert_equal(_load(write_folder(tmp_path / "same", TIED, weights)), network)
    weights["lm_head.weight"] += 1
    with pytest.raises(ModelError, match="differs from the embedding"):
        _load(write_folder(tmp_path / "other", TIED, weights))


def test_resized_embeddings_rule_over_the_config(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, config_changes={"vocab_size": 300})
    assert _load(folder).config.vocab_size == 320


def test_vision_sizes_come_from_the_shapes_when_the_config_has_none(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, vision_width=144, num_vision_heads=2)
    folder, network = make_folder(tmp_path, config, config_changes={"vision_encoder_config": None})
    _assert_equal(_load(folder), network)


def test_heads_that_no_shape_can_tell_are_asked_for(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, config_changes={"vision_encoder_config": None})
    with pytest.raises(ModelError, match="num_attention_heads"):
        _load(folder)


def test_published_fields_are_read(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, config_changes={"mm_max_length": None, "spatial_merge_size": 2})
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 2]}')
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.4, 0.5, 0.6], "min_pixels": 784}')
    config = _load(folder).config
    assert config.max_request_patches == 2369
    assert config.stop_ids == (2, 7)
    assert config.pixel_mean == (0.4, 0.5, 0.6)
    assert config.min_image_px == 784


@pytest.mark.parametrize("kind", ["llava_qwen", None])
def test_an_unknown_kind_is_refused(tmp_path: Path, kind: str | None) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, config_changes={"model_type": kind})
    with pytest.raises(ModelError, match="pixelreferlite_qwen2"):
        _load(folder)


@pytest.mark.parametrize("name", ["hidden_size", "num_key_value_heads"])
def test_a_config_without_a_field_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, config_changes={name: None})
    with pytest.raises(ModelError, match=name):
        _load(folder)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, pickled: bool, share: float) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, pickled=pickled)
    file = folder / ("pytorch_model.bin" if pickled else "model.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=file.name):
        _load(folder)


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, pickled=True)
    trace = tmp_path / "was-here"
    torch.save({"model.norm.weight": _Trap(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be read"):
        _load(folder)
    assert not trace.exists()
    pickle.loads(pickle.dumps(_Trap(trace)))
    assert trace.exists()  # the trap works when something does unpickle it


class _Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._trace,))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG, num_shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks 1 of 3 weight files: model-00002"):
        _load(folder)


def test_folders_without_weights_or_config_say_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights"):
        _load(tmp_path)
    folder, _ = make_folder(tmp_path / "model", CONFIG)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        _load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        _load(folder)


@pytest.mark.parametrize("paradigm", ["object_only", "vision_object"])
def test_saved_checkpoints_load_again_and_answer_the_same(tmp_path: Path, paradigm: Paradigm) -> None:
    network, tokenizer = make_debug_network(paradigm=paradigm), make_debug_tokenizer()
    save_checkpoint(tmp_path, network, tokenizer)
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    }
    loaded, _ = load_checkpoint(tmp_path, device="cpu", dtype=torch.float32)
    _assert_equal(loaded, network)
    captioner = PixelReferCaptioner.load(tmp_path, max_new_tokens=12)
    requests = make_requests(3)
    assert [answer.text for answer in captioner.describe(requests)] == [
        answer.text for answer in make_captioner(paradigm=paradigm).describe(requests)
    ]


def test_a_tokenizer_of_vocabulary_and_merges_equals_its_single_file(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG)
    _, single = load_checkpoint(folder, device="cpu", dtype=torch.float32)
    tokenizer = make_byte_pair_tokenizer()
    (folder / "tokenizer.json").unlink()
    tokenizer.model.save(str(folder))
    added = {
        str(number): {
            "content": token.content,
            "special": True,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
        }
        for number, token in tokenizer.get_added_tokens_decoder().items()
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": added, "tokenizer_class": "Qwen2Tokenizer"})
    )
    _, split = load_checkpoint(folder, device="cpu", dtype=torch.float32)
    text = "<|im_start|>user\nThe marked car: [Time 0.0:<REGION><REGION>].<|im_end|>\n"
    assert split.encode(text) == single.encode(text)
    assert split.turn_end_id == single.turn_end_id


def test_a_tokenizer_without_the_turn_tokens_is_refused(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path, CONFIG)
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelError, match="im_start"):
        load_checkpoint(folder, device="cpu", dtype=torch.float32)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(folder, device="cpu", dtype=torch.float32)
