"""Make the bundled describer from nothing: what `tubelet train describe --recipe small` does.

    1. pools of rendered pictures and clips      work/pictures, work/clips, work/held-out
    2. a tokenizer from the grammar              work/tokenizer
    3. stage 0, the vision encoder on crops      work/0-vision
    4. the frozen encoder's features             work/features-…
    5. stage 0, motion from traced paths         work/paths, work/paths-held-out, work/0-motion, work/0-words
    6. stages 1 and 2, answers                   work/1-perception, work/2-instruction
    7. which way objects face, and turn by that  work/watched, work/facing.safetensors
    8. what objects are by their sights          work/kinds.safetensors
    9. the best weights, in float16              out

Every step goes on from what is there, so the same command resumes a run that was killed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tubelet.model.describing.facing_reader import FacingReader, read_facing
from tubelet.model.describing.kinds import KindReader, read_kinds
from tubelet.model.describing.turning import TurnReader
from tubelet.model.pixelrefer.config import PixelReferConfig
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import (
    DESCRIBE_BRIEFLY,
    DESCRIBE_IMAGE,
    DESCRIBE_VIDEO,
    PromptTokenizer,
)
from tubelet.model.pixelrefer.weights import load_network, save_checkpoint
from tubelet.model.training.describe.answering import AnswerModel
from tubelet.model.training.describe.batches import MomentBatches
from tubelet.model.training.describe.card import write_card
from tubelet.model.training.describe.domains import LookAt, make_domain
from tubelet.model.training.describe.evaluation import (
    JudgedMoment,
    choose_moments,
    generate_captions,
    judge_captions,
)
from tubelet.model.training.describe.facing import fit_facing, fit_reader
from tubelet.model.training.describe.features import DecodeView, make_features
from tubelet.model.training.describe.kinds import fit_kinds
from tubelet.model.training.describe.motion_stage import MotionModel, begin_with_places
from tubelet.model.training.describe.path_batches import PathBatches, measure_turns
from tubelet.model.training.describe.paths import TraceClip, make_paths
from tubelet.model.training.describe.pool import KeepViews, Pool, RenderClip, make_pool
from tubelet.model.training.describe.recipe import AnswerStage, PathStage, SmallRecipe
from tubelet.model.training.describe.rendered import talk_about
from tubelet.model.training.describe.tuning import save_into
from tubelet.model.training.describe.turning import fit_turns, gather_turns
from tubelet.model.training.describe.warm_up import CropBatches, WarmUpModel, measure_warm_up, whiten_patches
from tubelet.model.training.describe.watching import iterate_watched, make_watched
from tubelet.model.training.describe.word_stage import WordModel
from tubelet.model.training.grammar.facts import (
    TURNING,
    MomentFacts,
    RelationFacts,
    ThingFacts,
    add_turns,
)
from tubelet.model.training.grammar.words import pick
from tubelet.model.training.loop import MakeBatch, TrainReport, train
from tubelet.model.training.schedule import LoopSettings, PartRate
from tubelet.model.training.tokenizer import iterate_english, iterate_times, train_tokenizer
from tubelet.model.training.world.spec import ACTIONS, CATEGORIES, COLOURS, RELATIONS

logger = logging.getLogger(__name__)

NUM_JUDGED = 160


@dataclass(frozen=True, slots=True)
class Sources:
    """Where samples come from: the renderers, and the pipeline's way of keeping, decoding and recognising."""

    render_clip: RenderClip
    render_image: RenderClip
    trace_clip: TraceClip
    keep_views: KeepViews
    decode_view: DecodeView
    look_at: LookAt


def make_pools(recipe: SmallRecipe, work: Path, sources: Sources) -> None:
    """Render all pools, the small ones first."""
    make_pool(work / "held-out", recipe.held_out, sources.render_clip, sources.keep_views)
    make_pool(work / "pictures", recipe.pictures, sources.render_image, sources.keep_views)
    make_pool(work / "clips", recipe.clips, sources.render_clip, sources.keep_views)
    make_pool(work / "domain", recipe.domain, sources.render_clip, sources.keep_views)
    make_watched(
        work / "watched", recipe.watched, sources.render_clip, sources.keep_views, sources.decode_view
    )
    make_paths(work / "paths-held-out", recipe.held_out_paths, sources.trace_clip)
    make_paths(work / "paths", recipe.paths, sources.trace_clip)


def train_small(recipe: SmallRecipe, out: Path, work: Path, sources: Sources) -> dict[str, TrainReport]:
    """Go through all stages, from what `work` already holds, and write the checkpoint to `out`.

    Pools must be there or are made first; another process may make them beforehand with `make_pools`. A
    stage that SIGTERM stopped ends the run, without a checkpoint; the same call goes on with it.
    """
    make_pools(recipe, work, sources)
    logger.info("pools are made")
    tokenizer = make_tokenizer(
        work / "tokenizer", seed=recipe.seed, vocab_size=recipe.config.vocab_size, count=recipe.num_texts
    )
    reports = {}
    vision = work / "0-vision"
    network = make_network(recipe.config, tokenizer, seed=recipe.seed)
    reports["0-vision"] = run_warm_up(recipe, work, sources.decode_view, network, tokenizer)
    if reports["0-vision"].reason == "signal":
        return reports
    network = load_network(vision / "best", device="cpu", dtype=torch.float32)
    for name in ("held-out", "clips"):
        make_features(network, Pool(work / name), sources.decode_view, work / f"features-{name}")
    for name, run in (("0-motion", run_motion), ("0-words", run_words)):
        reports[name] = run(recipe, work, network, tokenizer)
        if reports[name].reason == "signal":
            return reports
        network = load_network(work / name / "best", device="cpu", dtype=torch.float32)
    for stage in recipe.stages:
        reports[stage.name] = run_answers(recipe, stage, work, network, tokenizer)
        if reports[stage.name].reason == "signal":
            return reports
        network = load_network(work / stage.name / "best", device="cpu", dtype=torch.float32)
    judged = _choose_judged(recipe, work)
    figures = _judge(network, tokenizer, judged)
    turns = fit_turns(gather_turns(recipe.turns, sources.trace_clip), seed=recipe.seed)
    domain = make_domain(
        Pool(work / "domain"),
        Pool(work / "held-out"),
        sources.look_at,
        sources.decode_view,
        network,
        turns,
        num_axes=recipe.num_domain_axes,
    )
    domain = replace(domain, facing=make_facing(recipe, work, turns), kinds=make_kinds(recipe, work))
    save_checkpoint(out, network.half(), tokenizer)
    domain.write(out)
    card = write_card(
        recipe,
        network.config,
        reports,
        figures,
        num_parameters=sum(weight.numel() for weight in network.parameters()),
        num_judged=len(judged),
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    return reports


def make_facing(recipe: SmallRecipe, work: Path, turns: TurnReader) -> FacingReader:
    """What reads the way of an object from which way it faces: the one in `work`, or it is learnt and kept
    there."""
    if (made := read_facing(work)) is not None:
        return made
    watched = work / "watched"
    network = fit_facing(iterate_watched(watched), num_epochs=recipe.num_sight_epochs, seed=recipe.seed)
    reader = fit_reader(network, turns, iterate_watched(watched), seed=recipe.seed)
    reader.write(work)
    return reader


def make_kinds(recipe: SmallRecipe, work: Path) -> KindReader:
    """What tells categories by sights: the one in `work`, or it is learnt and kept there."""
    if (made := read_kinds(work)) is not None:
        return made
    watched = iterate_watched(work / "watched")
    reader = fit_kinds(watched, num_epochs=recipe.num_sight_epochs, seed=recipe.seed)
    reader.write(work)
    return reader


def run_warm_up(
    recipe: SmallRecipe, work: Path, decode: DecodeView, network: PixelRefer, tokenizer: PromptTokenizer
) -> TrainReport:
    """Stage 0: the vision encoder alone, under heads that are not kept."""
    folder = work / "0-vision"
    if (report := _read_report(folder)) is not None:
        return report
    torch.manual_seed(recipe.seed)
    model = WarmUpModel(network.requires_grad_(True))
    batches = CropBatches(
        folders=(work / "pictures", work / "clips"),
        shards=(recipe.pictures.num_shards, recipe.clips.num_shards),
        config=recipe.config,
        decode=decode,
        batch_size=recipe.warm_up_batch,
        seed=recipe.seed,
    )
    whiten_patches(network, batches)
    judged = [
        replace(batches, folders=(work / "held-out",), shards=(recipe.held_out.num_shards,), varied=False)(
            number
        )
        for number in range(6)
    ]

    def evaluate(trained: nn.Module) -> Mapping[str, float]:
        assert isinstance(trained, WarmUpModel)
        values = measure_warm_up(trained, judged)
        return {**values, "score": values["category"] + values["colour"]}

    frozen = tuple(
        PartRate(pattern=f"network.{part}.*", factor=0.0) for part in ("decoder", "region_encoder")
    )
    return _train_stage(
        model,
        batches,
        recipe.warm_up.model_copy(update={"parts": (*frozen, *recipe.warm_up.parts)}),
        folder,
        evaluate,
        network,
        tokenizer,
    )


def run_motion(
    recipe: SmallRecipe, work: Path, network: PixelRefer, tokenizer: PromptTokenizer
) -> TrainReport:
    """How things move, from paths, under heads that are not kept. Vision and surroundings have no part."""
    torch.manual_seed(recipe.seed)
    begin_with_places(network.region_encoder, recipe.seed)
    model = MotionModel(network.requires_grad_(True))
    return _run_paths(recipe, recipe.motion, "0-motion", work, model, network, tokenizer)


def run_words(
    recipe: SmallRecipe, work: Path, network: PixelRefer, tokenizer: PromptTokenizer
) -> TrainReport:
    """Words for what moves how, from paths."""
    torch.manual_seed(recipe.seed)
    model = WordModel(network.requires_grad_(True), tokenizer)
    return _run_paths(recipe, recipe.words, "0-words", work, model, network, tokenizer)


def _run_paths(
    recipe: SmallRecipe,
    stage: PathStage,
    name: str,
    work: Path,
    model: MotionModel | WordModel,
    network: PixelRefer,
    tokenizer: PromptTokenizer,
) -> TrainReport:
    folder = work / name
    if (report := _read_report(folder)) is not None:
        return report
    batches = PathBatches(
        paths=work / "paths",
        pool=work / "clips",
        num_shards=recipe.clips.num_shards,
        features=work / "features-clips",
        shares=stage.shares,
        batch_size=stage.batch_size,
        bare_until=stage.bare_until,
        timed_from=stage.timed_from,
        seed=stage.loop.seed,
    )
    judged = replace(
        batches,
        paths=work / "paths-held-out",
        pool=work / "held-out",
        num_shards=recipe.held_out.num_shards,
        features=work / "features-held-out",
    ).choose_judged(stage.num_judged)

    def evaluate(trained: nn.Module) -> Mapping[str, float]:
        assert isinstance(trained, MotionModel | WordModel)
        return measure_turns(judged, trained.judge(judged))

    return _train_stage(model, batches, stage.loop, folder, evaluate, network, tokenizer)


def run_answers(
    recipe: SmallRecipe, stage: AnswerStage, work: Path, network: PixelRefer, tokenizer: PromptTokenizer
) -> TrainReport:
    """One stage of learning answers, on features that were computed before."""
    folder = work / stage.name
    if (report := _read_report(folder)) is not None:
        return report
    batches = MomentBatches(
        pool=work / "clips",
        num_shards=recipe.clips.num_shards,
        features=work / "features-clips",
        shares=stage.shares,
        batch_size=stage.batch_size,
        seed=stage.loop.seed,
        paths=work / "paths",
        path_share=stage.path_share,
    )
    judged = _choose_judged(recipe, work)

    def evaluate(trained: nn.Module) -> Mapping[str, float]:
        assert isinstance(trained, AnswerModel)
        return _judge(trained.network, tokenizer, judged)

    return _train_stage(
        AnswerModel(network.requires_grad_(True), tokenizer),
        batches,
        stage.loop,
        folder,
        evaluate,
        network,
        tokenizer,
    )


def make_network(config: PixelReferConfig, tokenizer: PromptTokenizer, *, seed: int) -> PixelRefer:
    """The small network with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PixelRefer(replace(config, stop_ids=(tokenizer.turn_end_id,)))


def make_tokenizer(folder: Path, *, seed: int, vocab_size: int, count: int) -> PromptTokenizer:
    """The grammar's tokenizer, learnt once."""
    if not (folder / "tokenizer.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        train_tokenizer(iterate_texts(seed, count), vocab_size=vocab_size).write(folder)
    return PromptTokenizer.read(folder)


def iterate_texts(seed: int, count: int) -> Iterator[str]:
    """What the tokenizer is learnt from: the grammar over facts drawn at random, prompts, times, English."""
    generator = np.random.default_rng([seed, 0x746F6B])
    for _ in range(count):
        for conversation in talk_about(draw_facts(generator), generator, "train"):
            for exchange in conversation:
                yield exchange.answer
                yield exchange.prompt.split("\n")[-1]
    for prompt in (DESCRIBE_VIDEO, DESCRIBE_IMAGE, DESCRIBE_BRIEFLY):
        yield from [prompt] * (count // 10)
    yield from iterate_times(generator, count // 10)
    yield from iterate_english()


def draw_facts(generator: np.random.Generator) -> MomentFacts:
    """Facts of no clip: any category, colours, actions and relation."""

    def draw_thing() -> ThingFacts:
        colours = generator.permutation(len(COLOURS))[: 1 + int(generator.random() < 0.4)]
        return ThingFacts(pick(generator, CATEGORIES), tuple(COLOURS[int(index)] for index in colours))

    drawn = [pick(generator, ACTIONS) for _ in range(int(generator.integers(1, 4)))]
    actions = tuple(action for n, action in enumerate(drawn) if not n or drawn[n - 1] != action)
    turn = add_turns([TURNING[action] for action in actions if action in TURNING])
    relation = RelationFacts(
        pick(generator, RELATIONS), "subject" if generator.random() < 0.5 else "object", draw_thing()
    )
    return MomentFacts(draw_thing(), actions, turn, (relation,) if generator.random() < 0.3 else ())


def _choose_judged(recipe: SmallRecipe, work: Path) -> list[JudgedMoment]:
    return choose_moments(
        work / "held-out", recipe.held_out.num_shards, work / "features-held-out", NUM_JUDGED
    )


def _judge(
    network: PixelRefer, tokenizer: PromptTokenizer, judged: Sequence[JudgedMoment]
) -> dict[str, float]:
    captions = generate_captions(network, tokenizer, [moment.region for moment in judged])
    for caption, moment in list(zip(captions, judged, strict=True))[::16]:
        thing = moment.facts.thing
        logger.info("%s | %s %s %s", caption, thing.colours, thing.category, moment.facts.actions)
    return judge_captions(captions, [moment.facts for moment in judged])


def _train_stage(
    model: nn.Module,
    batches: MakeBatch[Any],
    loop: LoopSettings,
    folder: Path,
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    network: PixelRefer,
    tokenizer: PromptTokenizer,
) -> TrainReport:
    """Train a stage from its last save on; one that ended leaves a report, so that it is not run again."""
    report = train(
        model,
        batches,
        loop,
        folder,
        save_weights=save_into(network, tokenizer),
        evaluate=evaluate,
        resume=True,
    )
    if report.reason != "signal":
        (folder / "report.json").write_text(json.dumps(asdict(report)), encoding="utf-8")
    return report


def _read_report(folder: Path) -> TrainReport | None:
    """How a stage ended, if it has."""
    path = folder / "report.json"
    return TrainReport(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
