"""A recipe's round: its items from what earlier stages left, its settings, who answers raters.

Without torch, so that the process that serves the round can read it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from accord.artifacts import Artifact
from accord.config import Recipe, StudioConfig
from accord.config.generators import AccordPolicy, GeneratorConfig, OpenAIPolicy, Speech
from accord.errors import ConfigError
from accord.store import rounds
from accord.store.database import Store
from accord.store.intake import new_items, read_items
from accord.store.records import NewItem, Project, Round
from accord.store.task import RoundSettings, TaskSchema
from accord.store.task_files import load_schema
from accord.types import Prompt, Sample

GUIDELINE = """\
Choose the response that you would rather have got, had you asked.

- Helpful first: does it do what was asked, all of it, and no more?
- Is it true? If you cannot tell, say so; do not guess.
- Longer is not better. Sounding sure is not better either.
- When both are equally good, say so. When both are bad, say that.

Take the time that you need. If you are unsure what we want, ask: your question goes to the people
who run this round.
"""
WRITE = TaskSchema(
    name="demonstrate",
    question="Write the answer that you would want to get.",
    strength_steps=0,
    comment="off",
)
POLICY = "policy"
"""What the round calls the model that answers; raters never see it."""
TASKS_BEFORE_ENOUGH = 5
"""Training items that a rater does when the recipe names a file of them and it has as many."""


def open_round(
    recipe: Recipe,
    store: Store,
    actor: str,
    *,
    samples: Artifact | None = None,
    prompts: Artifact | None = None,
    report: Artifact | None = None,
    scores: Sequence[tuple[float, ...]] | None = None,
) -> Round:
    """The recipe's round, open: made if it is not there, taken up where it was if it is.

    Args:
        recipe: sections ``studio`` and ``collect`` are used, and the seed.
        store: where rounds live.
        actor: account in whose name it is made, or ``system``.
        samples: candidates to compare or rank.
        prompts: prompts to write answers for.
        report: the policies' answers to held-out prompts, for a head-to-head round.
        scores: the reward model's, for each pair of :func:`head_to_head`; None: no prediction.

    Raises:
        ConfigError: a file that the recipe names is missing, or what the round needs is.
        DataError: nothing to judge.
    """
    config = recipe.studio
    project = _project(store, config, actor)
    found = find_round(recipe, store)
    if found is not None and found.task != config.task:
        raise ConfigError(
            f"studio.name: round {config.name!r} is there and its task is {found.task}, "
            f"not {config.task}; choose another studio.name"
        )
    if found is None or found.state == "draft":
        new = items(recipe, samples=samples, prompts=prompts, report=report, scores=scores)
        if found is None:
            found = _create(recipe, store, project, actor, new)
        if new:
            rounds.add_items(store, found.id, new, actor)
        found = rounds.open_round(store, found.id, actor)
    return found


def find_round(recipe: Recipe, store: Store) -> Round | None:
    """The recipe's round if it is there, by the names of its project and its own."""
    config = recipe.studio
    projects = {p.name: p.id for p in rounds.list_projects(store)}
    if config.project not in projects:
        return None
    found = rounds.list_rounds(store, projects[config.project])
    return next((r for r in found if r.name == config.name), None)


def items(
    recipe: Recipe,
    *,
    samples: Artifact | None = None,
    prompts: Artifact | None = None,
    report: Artifact | None = None,
    scores: Sequence[tuple[float, ...]] | None = None,
) -> list[NewItem]:
    """What the recipe's round asks people to judge, its checks among it; see :func:`open_round`."""
    config = recipe.studio
    if config.purpose == "head_to_head":
        pairs = head_to_head(_needed(report, "evaluate", config))
        found = [
            NewItem(pair.prompt, pair.completions, scores=None if scores is None else scores[i])
            for i, pair in enumerate(pairs)
        ]
    elif config.task == "chat":
        found = []
    elif config.task == "demonstrate":
        source = prompts if prompts is not None else samples
        found = new_items(
            _needed(source, "sample", config).records(), "demonstrate", source="prompts"
        )
    else:
        found = new_items(
            _needed(samples, "sample", config).records(),
            config.task,
            source="samples",
            pairs_per_prompt=recipe.collect.pairs_per_prompt,
            seed=recipe.seed,
        )
    if config.gold_items is not None:
        found += read_items(_file(config.gold_items, "gold_items"), config.task, "gold")
    if config.anchor_items is not None:
        found += read_items(_file(config.anchor_items, "anchor_items"), config.task, "anchor")
    if config.training_items is not None:
        found += read_items(_file(config.training_items, "training_items"), config.task, "training")
    return found


def schema(config: StudioConfig) -> TaskSchema:
    """The questions on the screen: the recipe's, or those that fit the task."""
    if config.task_schema is not None:
        return load_schema(config.task_schema)
    if config.task == "demonstrate":
        return WRITE
    return load_schema("instructgpt" if config.task == "rank" else "hh")


def generators(recipe: Recipe) -> GeneratorConfig:
    """Who answers raters in this recipe's round; nobody where no answer is needed."""
    config = recipe.studio
    if not _speaks(config):
        return GeneratorConfig()
    if config.generator == "openai":
        assert config.generator_url is not None
        assert config.generator_model is not None
        server = OpenAIPolicy(kind="openai", url=config.generator_url, model=config.generator_model)
        return GeneratorConfig(policies={POLICY: server})
    source = config.generator_model or str(Path(recipe.out) / "sft")
    own = AccordPolicy(source=source, model=recipe.model)
    return GeneratorConfig(policies={POLICY: own}, num_threads=recipe.model.num_threads)


def _speaks(config: StudioConfig) -> bool:
    """Whether a model answers: to raters, or, where one is named, prompts that a lead queues."""
    drafts = config.task == "demonstrate" and config.show_draft
    return config.task == "chat" or drafts or config.generator_model is not None


def _project(store: Store, config: StudioConfig, actor: str) -> Project:
    named = (p for p in rounds.list_projects(store) if p.name == config.project)
    return next(named, None) or rounds.create_project(store, config.project, actor)


def _create(
    recipe: Recipe, store: Store, project: Project, actor: str, new: Sequence[NewItem]
) -> Round:
    config = recipe.studio
    text = GUIDELINE
    if config.guideline is not None:
        text = _file(config.guideline, "guideline").read_text("utf-8")
    version = rounds.set_guideline(store, project.id, text, actor)
    num_training = sum(item.role == "training" for item in new)
    return rounds.create_round(
        store,
        project.id,
        config.name,
        task=config.task,
        actor=actor,
        purpose=config.purpose,
        schema=schema(config),
        settings=RoundSettings(
            overlap=config.overlap,
            calibration_share=config.calibration_share,
            gold_share=config.gold_share,
            anchor_share=config.anchor_share,
            escalate_spread=config.escalate_spread,
            training_items=min(num_training, TASKS_BEFORE_ENOUGH),
            show_draft=config.show_draft,
            seed=recipe.seed,
            policies=(POLICY,) if _speaks(config) else (),
            speech=Speech(
                max_tokens=recipe.sample.max_tokens,
                temperature=recipe.sample.temperature,
                top_k=recipe.sample.top_k,
                top_p=recipe.sample.top_p,
                seed=recipe.seed,
            ),
        ),
        budget=config.budget,
        guideline=version,
    )


def head_to_head(report: Artifact) -> list[Sample]:
    """Each held-out prompt with the first answers of two policies, for all pairs of policies.

    A completion's ``model`` is the policy's name in the report.

    Raises:
        ConfigError: the report holds fewer than two policies.
    """
    answers: dict[str, dict[Prompt, Sample]] = {}
    for path in sorted(report.path.glob("samples-*.jsonl")):
        name = path.stem.removeprefix("samples-")
        rows = [r for r in report.records(path.name) if isinstance(r, Sample)]
        answers[name] = {r.prompt: r for r in rows}
    if len(answers) < 2:
        raise ConfigError(f"{report.path} holds {len(answers)} policy; head to head needs two")
    pairs = []
    for first, second in combinations(answers, 2):
        for prompt, ours in answers[first].items():
            theirs = answers[second].get(prompt)
            if theirs is not None and ours.completions[0].text != theirs.completions[0].text:
                a = replace(ours.completions[0], model=first)
                b = replace(theirs.completions[0], model=second)
                pairs.append(Sample(prompt, (a, b)))
    return pairs


def _needed(artifact: Artifact | None, stage: str, config: StudioConfig) -> Artifact:
    if artifact is None:
        raise ConfigError(
            f"studio.task: {config.task} ({config.purpose}) needs what `accord {stage}` makes; "
            "run it on this recipe first"
        )
    return artifact


def _file(name: str, field: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"studio.{field}: there is no file {name}")
    return path
