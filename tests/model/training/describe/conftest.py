"""A pool of a few small clips and a small random network, made once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tubelet.model.pixelrefer.debug import DEBUG_CONFIG
from tubelet.model.recognising.bundled import BundledRecogniser
from tubelet.model.training.describe.pool import PoolPlan, make_pool
from tubelet.model.training.describe.recipe import AnswerStage, PathStage, SmallRecipe
from tubelet.model.training.describe.rendered import Kind
from tubelet.model.training.describe.run import Sources
from tubelet.model.training.schedule import LoopSettings, PartRate
from tubelet.model.training.world import ClipSpec, render_clip, render_image, trace_clip
from tubelet.orchestration.kept_views import keep_views
from tubelet.workers.evidence import decode_view
from tubelet.workers.recognise import look_at

SPEC = ClipSpec(num_frames=8, frame_rate=2.0, width=160, height=96, max_objects=3, theme="traffic")
PLAN = PoolPlan(6, (SPEC,), first_seed=40, clips_per_shard=3)
CONFIG = replace(
    DEBUG_CONFIG,
    num_object_tokens=3,
    vocab_size=700,
    tied_embeddings=True,
    scene_px=42,
    local_px=28,
    crop_padding_px=4,
    max_region_cells=12,
    max_request_patches=4096,
)
SOURCES = Sources(
    render_clip, render_image, trace_clip, keep_views, decode_view, partial(look_at, BundledRecogniser())
)


@pytest.fixture(scope="session")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    make_pool(folder, PLAN, render_clip, keep_views)
    return folder


def make_toy_recipe(**changes: object) -> SmallRecipe:
    """Every stage of the real recipe, in seconds."""
    frozen = (PartRate(pattern="network.vision.*", factor=0.0),)
    loop = LoopSettings(
        steps=12,
        seed=3,
        learning_rate=3e-3,
        schedule="constant",
        warmup_steps=1,
        log_every=1,
        evaluate_every=12,
        save_every=4,
    )
    paths_loop = loop.model_copy(update={"parts": frozen, "steps": 24, "evaluate_every": 24})
    kinds: tuple[tuple[Kind, float], ...] = (("left", 0.3), ("right", 0.3), ("straight", 0.4))
    shares = (("image", 0.4), ("straight", 0.3), ("other", 0.3))
    recipe = SmallRecipe(
        config=CONFIG,
        pictures=replace(PLAN, specs=(replace(SPEC, num_frames=1),)),
        clips=PLAN,
        held_out=replace(PLAN, num_clips=3, specs=(replace(SPEC, split="held-out"),)),
        warm_up=loop.model_copy(
            update={
                "best_by": "score",
                "steps": 40,
                "evaluate_every": 40,
                "save_every": 40,
            }
        ),
        warm_up_batch=8,
        paths=replace(PLAN, num_clips=30),
        domain=PLAN,
        turns=replace(PLAN, num_clips=20),
        watched=PLAN,
        held_out_paths=replace(PLAN, num_clips=20, specs=(replace(SPEC, split="held-out"),)),
        motion=PathStage(paths_loop, 8, kinds, 2),
        words=PathStage(paths_loop, 4, kinds, 2, bare_until=8, timed_from=16),
        stages=(
            AnswerStage("1-perception", loop.model_copy(update={"parts": frozen, "steps": 40}), 2, shares),
            AnswerStage(
                "2-instruction",
                loop.model_copy(update={"parts": frozen, "best_by": "score"}),
                2,
                shares,
                path_share=0.5,
            ),
        ),
        num_texts=200,
        num_domain_axes=2,
        num_sight_epochs=2,
    )
    return replace(recipe, **changes)
