"""Recipes: strict loading, errors that name the line, origins of values, presets, round trips."""

import random
import re
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
import yaml
from pydantic import ValidationError
from rich.console import Console

from accord import config
from accord.config import PPOConfig, Recipe, Section
from accord.errors import ConfigError

PRESETS = Path(config.__file__).parents[1] / "presets"
SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Recipe.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


def _load(tmp_path: Path, text: str, **keywords: Any) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, **keywords)


def _error(tmp_path: Path, text: str, **keywords: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text, **keywords)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def _shown(recipe: Recipe) -> str:
    console = Console(width=300)
    with console.capture() as capture:
        console.print(config.explain(recipe))
    return capture.get()


# The sections themselves


def test_every_section_is_frozen_strict_and_documented() -> None:
    assert list(SECTIONS) == [
        *("model", "data", "sft", "sample", "collect", "studio", "webhook"),
        *("reward", "ppo", "dpo", "evaluate"),
    ]
    everything: dict[str, type[Section]] = {**SECTIONS, "recipe": Recipe}
    for name, section in everything.items():
        assert section.model_config["frozen"] and section.model_config["extra"] == "forbid"
        assert len(section.model_fields) <= 25
        for field, info in section.model_fields.items():
            text = info.description or ""
            assert re.match(r"[A-Z`0-9]", text), f"{name}.{field}"
            assert text.rstrip().endswith((".", ")")), f"{name}.{field}"


def test_recipe_cannot_be_changed_or_given_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        Recipe().ppo.kl_coef = 1.0
    with pytest.raises(ValidationError):
        PPOConfig.model_validate({"kl_coeff": 0.1})


def test_defaults_are_those_promised() -> None:
    recipe = config.load()
    assert recipe == Recipe()
    assert (recipe.seed, recipe.out, recipe.model.name) == (0, "runs/default", "tiny")
    assert (recipe.sft.learning_rate, recipe.sft.num_epochs, recipe.sft.schedule) == (
        2e-5,
        2,
        "cosine",
    )
    assert (recipe.reward.adam_eps, recipe.reward.heldout_fraction) == (1e-5, 0.2)
    assert (recipe.dpo.beta, recipe.dpo.warmup_fraction, recipe.dpo.adam_eps) == (0.1, 0.1, 1e-8)
    assert (recipe.ppo.kl_coef, recipe.ppo.missing_eos_penalty) == (0.05, 1.0)
    assert recipe.ppo.adam_eps == 1e-5


# Reading YAML: text becomes what the field says


def test_numbers_are_numbers_however_yaml_1_1_would_read_them(tmp_path: Path) -> None:
    recipe = _load(
        tmp_path,
        """
        seed: 010
        out: 5
        model:
          revision: 0012345
          system: no
        data:
          columns: {prompt: 1e-5, chosen: yes}
        sft:
          learning_rate: 1e-5
          adam_eps: "1e-6"
          num_epochs: 0_3
          packing: off
          max_steps: ~
        ppo:
          kl_target: 6
        dpo:
        """,
    )
    assert yaml.safe_load("1e-5") == "1e-5"  # the trap: a string for every YAML 1.1 reader
    assert recipe.sft.learning_rate == 1e-5 and recipe.sft.adam_eps == 1e-6
    assert (recipe.seed, recipe.out, recipe.sft.num_epochs) == (10, "5", 3)
    assert recipe.model.revision == "0012345" and recipe.model.system == "no"
    assert recipe.data.columns == {"prompt": "1e-5", "chosen": "yes"}
    assert recipe.sft.packing is False and recipe.sft.max_steps is None
    assert recipe.ppo.kl_target == 6.0 and recipe.dpo == Recipe().dpo


@pytest.mark.parametrize("text", ["", "\n# only a comment\n", "ppo:\n", "\ufeffseed: 0\n"])
def test_nothing_said_is_the_default(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text) == Recipe()


def test_multiline_and_quoted_text_arrives_unchanged(tmp_path: Path) -> None:
    recipe = _load(
        tmp_path, 'model:\n  system: |\n    Be short.\n    Be kind: "é 😀".\n  name: "null"\n'
    )
    assert recipe.model.system == 'Be short.\nBe kind: "é 😀".\n' and recipe.model.name == "null"


# Errors: file, line, and the nearest name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "seed: 1\nppo:\n  gamma: 1\n  kl_coeff: 0.1\n",
            "recipe.yaml:4: unknown key 'kl_coeff' in ppo; did you mean 'kl_coef'?",
        ),
        ("pppo:\n  x: 1\n", "recipe.yaml:1: unknown key 'pppo'; did you mean 'ppo'?"),
        ("\nkl_coef: 1\n", "recipe.yaml:2: unknown key 'kl_coef'; there is ppo.kl_coef"),
        ("sft:\n  zzz: 1\n", "recipe.yaml:2: unknown key 'zzz' in sft"),
        ("sft:\n  beta: 1\n", "recipe.yaml:2: unknown key 'beta' in sft; there is dpo.beta"),
        (
            "ppo: 3\n",
            "recipe.yaml:1: ppo is a section; write its keys below it, not '3'",
        ),
        (
            "ppo:\n  kl_coef: 1\n  gamma: 1\n  kl_coef: 1\n",
            "recipe.yaml:4: 'ppo.kl_coef' is set twice (first on line 2); keep one of them",
        ),
        (
            "ppo: {}\nsft: {}\nppo: {}\n",
            "recipe.yaml:3: 'ppo' is set twice (first on line 1); keep one of them",
        ),
        ("? [a]\n: 1\n", "recipe.yaml:1: a key must be plain text"),
        ("- a\n", "recipe.yaml:1: a recipe is made of sections, such as `ppo:`; found ['a']"),
        (
            "ppo:\n\tgamma: 1\n",
            "recipe.yaml:2: not valid YAML: found character '\\t' that cannot start any token",
        ),
        (
            "seed: 0\n---\nseed: 1\n",
            "recipe.yaml:2: not valid YAML: but found another document",
        ),
        ("seed: \x01\n", None),
        ("\nseed: -1\n", "recipe.yaml:2: seed must be greater than or equal to 0, not '-1'"),
        ("seed:\n", "recipe.yaml:1: seed must be a valid integer, not null"),
        ("out: ''\n", None),
        ("ppo:\n  gamma: true\n", "recipe.yaml:2: ppo.gamma must be a valid number, not 'true'"),
        (
            "ppo:\n  kl_coef: .nan\n",
            "recipe.yaml:2: ppo.kl_coef must be a valid number, not '.nan'",
        ),
        ("ppo:\n  kl_coef: inf\n", "recipe.yaml:2: ppo.kl_coef must be a finite number, not 'inf'"),
        (
            "ppo:\n  num_steps: 1e3\n",
            "recipe.yaml:2: ppo.num_steps must be a valid integer, not '1e3'",
        ),
        (
            "ppo:\n  kl_target: x\n",
            "recipe.yaml:2: ppo.kl_target must be a valid number, not 'x'",
        ),
        (
            "dpo:\n  schedule: lin\n",
            "recipe.yaml:2: dpo.schedule must be 'constant', 'linear' or 'cosine', not 'lin'",
        ),
        (
            "data:\n  columns:\n    prompt: [a]\n",
            "recipe.yaml:3: data.columns.prompt must be a valid string, not ['a']",
        ),
        (
            "data:\n  eval_fraction: 1\n",
            "recipe.yaml:2: data.eval_fraction must be less than 1, not '1'",
        ),
        (
            "preset: stienon2020\n",
            "recipe.yaml:1: unknown preset 'stienon2020'; did you mean 'stiennon2020'?; known: "
            + ", ".join(config.presets()),
        ),
        (
            "preset: {a: 1}\n",
            "recipe.yaml:1: preset must be a name or a list of names, not {'a': '1'}",
        ),
    ],
)
def test_errors_name_the_line_and_the_way_out(
    tmp_path: Path, text: str, expected: str | None
) -> None:
    lines = _error(tmp_path, text)
    assert len(lines) == 1 and lines[0].startswith("recipe.yaml")
    assert expected is None or lines[0] == expected


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    lines = _error(tmp_path, "a: 1\nppo:\n  b: 1\nsft:\n  c: 1\n")
    assert [line.partition(" ")[0] for line in lines] == [
        "recipe.yaml:1:",
        "recipe.yaml:3:",
        "recipe.yaml:5:",
    ]
    lines = _error(tmp_path, "seed: x\nppo:\n  gamma: 2\n  num_steps: 0\n")
    assert len(lines) == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("out: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: not UTF-8"):
        config.load(tmp_path / "latin.yaml")


def test_every_misspelt_field_is_recognised(tmp_path: Path) -> None:
    """One letter dropped from each field of each section: the suggestion is a real field."""
    for name, section in SECTIONS.items():
        for field in section.model_fields:
            wrong = field[:2] + field[3:]
            if wrong in section.model_fields:
                continue
            lines = _error(tmp_path, f"{name}:\n  {wrong}: 1\n")
            suggestion = re.search(r"did you mean '(\w+)'", lines[0])
            assert suggestion is not None and suggestion[1] == field, (name, field)


# Checks across fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model:\n  trainable: top\n", ":2: model: trainable: top needs top_layers"),
        ("model:\n  top_layers: 2\n", ":2: model: top_layers (2) is only used with trainable: top"),
        ("model:\n  trainable: lora\n  top_layers: 2\n", ":3: model: top_layers (2) is only used"),
        (
            "model:\n  trainable: lora\n  lora_rank: 0\n",
            ":3: model.lora_rank must be greater than or equal to 1, not '0'",
        ),
        ("model:\n  template: chatmll\n", ":2: model: unknown template 'chatmll'"),
        (
            "ppo:\n  batch_size: 10\n  num_minibatches: 4\n",
            ":3: ppo: batch_size (10) must be divisible by num_minibatches (4)",
        ),
        ("ppo:\n  kl_target: 6\n  kl_coef: 0\n", ":3: ppo: kl_target steers kl_coef"),
        ("ppo:\n  value_warmup_steps: 50\n", ":2: ppo: value_warmup_steps (50) leaves none"),
        ("sample:\n  num_candidates: 1\n", ":2: sample.num_candidates must be greater than"),
        ("data:\n  max_prompt_tokens: 512\n", ":2: data.max_prompt_tokens (512) leaves no room"),
        ("ppo:\n  max_tokens: 512\n", ":2: ppo.max_tokens (512) and data.max_prompt_tokens (256)"),
        ("model:\n  max_tokens: 300\n", ":2: sample.max_tokens (64) and data.max_prompt_tokens"),
        ("sample: {max_tokens: 257}\n", ":1: sample.max_tokens (257) and"),
        ("evaluate: {max_tokens: 257}\n", ":1: evaluate.max_tokens (257) and"),
        ("reward:\n  heldout_fraction: 0\n", ":2: reward: early_stop_patience needs held-out"),
        (
            "sft:\n  early_stop_patience: 2\n  heldout_fraction: 0\n",
            ":3: sft: early_stop_patience needs held-out",
        ),
        ("reward:\n  normalize_samples: 1\n", ":2: reward: normalize_samples: 1 sample has no"),
        ("collect:\n  careless: 0.6\n  left_click: 0.5\n", ":2: collect: careless (0.6) and"),
        (
            "collect:\n  layout: ranking\n  pairs_per_prompt: 2\n",
            ":3: collect: pairs_per_prompt (2) is only used with layout: pairs",
        ),
        (
            "collect:\n  pairs_per_prompt: 7\n",
            ":2: collect.pairs_per_prompt (7) is more than the 6",
        ),
        ("studio:\n  port: 65536\n", ":2: studio.port must be less than or equal to 65535"),
        ("studio:\n  calibration_share: 1.1\n", ":2: studio.calibration_share must be less than"),
        (
            "studio:\n  task: rank\n  purpose: head_to_head\n",
            ":3: studio: purpose: head_to_head needs task: compare, not rank",
        ),
        ("studio:\n  generator: openai\n", ":2: studio: generator: openai needs generator_url"),
        (
            "studio:\n  generator_url: http://localhost/v1\n",
            ":2: studio: generator_url is only used with generator: openai",
        ),
        (
            "studio: {generator: openai, generator_model: m, generator_url: 'file:///x'}\n",
            ":1: studio: generator_url must start with http:// or https://",
        ),
    ],
)
def test_checks_across_fields(tmp_path: Path, text: str, expected: str) -> None:
    lines = _error(tmp_path, text)
    assert len(lines) == 1 and lines[0].startswith(f"recipe.yaml{expected}"), lines


@pytest.mark.parametrize(
    "text",
    [
        "model:\n  trainable: top\n  top_layers: 2\n  template: my.jinja\n",
        "model:\n  trainable: lora\n  lora_rank: 1\n",
        "ppo:\n  batch_size: 12\n  num_minibatches: 4\n  max_tokens: 256\n",
        "reward:\n  heldout_fraction: 0\n  early_stop_patience: null\n  normalize_samples: 0\n",
        "collect:\n  careless: 0.5\n  left_click: 0.5\n  pairs_per_prompt: 6\n",
        "ppo:\n  missing_eos_penalty: null\n  kl_coef: 0\n",
        "studio: {generator: openai, generator_model: m, generator_url: 'http://127.0.0.1:1/v1'}\n",
        "studio:\n  purpose: head_to_head\n",
        "collect:\n  raters: studio\n",
    ],
)
def test_what_just_fits_is_accepted(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text) != Recipe()


# Overrides and presets


def test_order_of_precedence(tmp_path: Path) -> None:
    text = "preset: [ziegler2019, huang2024]\nppo:\n  gae_lambda: 0.5\n  clip_range: 0.3\n"
    recipe = _load(tmp_path, text, overrides=["ppo.clip_range=0.4"], preset="instructgpt")
    ppo = recipe.ppo
    assert ppo.clip_range == 0.4 and recipe.source("ppo.clip_range") == "command line"
    assert ppo.gae_lambda == 0.5 and recipe.source("ppo.gae_lambda").endswith("recipe.yaml:3")
    assert ppo.kl_coef == 0.02 and recipe.source("ppo.kl_coef") == "preset instructgpt (C.4)"
    assert ppo.learning_rate == 3e-6
    assert recipe.source("ppo.learning_rate") == "preset huang2024 (ppo.py: lr)"
    assert ppo.kl_horizon == 10000
    assert recipe.source("ppo.kl_horizon").startswith("preset ziegler2019 (train_policy.py")
    assert ppo.score_clip is None and recipe.source("ppo.score_clip") == "default"
    assert recipe.preset == ["ziegler2019", "huang2024", "instructgpt"]


def test_presets_named_in_three_ways() -> None:
    by_argument = config.load(preset="huang2024")
    assert by_argument == config.load(overrides=["preset=huang2024"])
    assert by_argument == config.load(preset=["huang2024"])
    both = config.load(overrides=["preset=[dpo2023, huang2024]"])
    assert both.preset == ["dpo2023", "huang2024"] and both.dpo.beta == 0.05
    again = config.load(overrides=["preset=[dpo2023, huang2024]"], preset="dpo2023")
    assert again.preset == ["huang2024", "dpo2023"] and again.dpo.beta == 0.1
    with pytest.raises(ConfigError, match=r"^unknown preset 'x'; known: "):
        config.load(preset="x")
    with pytest.raises(ConfigError, match=r"^command line: unknown preset 'x'; known: "):
        config.load(overrides=["preset=x"])


def test_overrides_are_typed_by_their_field() -> None:
    recipe = config.load(
        overrides=[
            "--ppo.kl_coef=1e-2",
            "ppo.kl_target = 3",
            "ppo.missing_eos_penalty=null",
            "sft.packing=false",
            "model.system=You are: [kind], #1",
            "model.revision=007",
            "model.template='plain'",
            "data.columns.prompt=question",
            'data.columns={chosen: "the better"}',
            "data.prompts=",
            "seed=1",
            "seed=2",
        ]
    )
    assert (recipe.ppo.kl_coef, recipe.ppo.kl_target) == (0.01, 3.0)
    assert recipe.ppo.missing_eos_penalty is None and recipe.sft.packing is False
    assert recipe.model.system == "You are: [kind], #1" and recipe.model.revision == "007"
    assert recipe.model.template == "plain" and recipe.seed == 2
    assert recipe.data.columns == {"prompt": "question", "chosen": "the better"}
    assert recipe.data.prompts is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("ppo.kl_coeff=1", "command line: unknown key 'kl_coeff' in ppo; did you mean 'kl_coef'?"),
        ("ppo={kl_coeff: 1}", "command line: unknown key 'kl_coeff' in ppo; did you mean"),
        ("kl_coef=1", "command line: unknown key 'kl_coef'; there is ppo.kl_coef"),
        ("ppo.kl_coef", "command line: 'ppo.kl_coef' is not an override; write section.key=value"),
        ("ppo.=1", "command line: 'ppo.=1' is not an override"),
        ("=1", "command line: '=1' is not an override"),
        ("ppo=1", "command line: ppo is a section"),
        (
            "ppo.kl_coef=-1",
            "command line: ppo.kl_coef must be greater than or equal to 0, not '-1'",
        ),
        ("ppo.kl_coef.x=1", "command line: ppo.kl_coef must be a valid number, not {'x': '1'}"),
        ("ppo.num_minibatches=5", "command line: ppo: batch_size (64) must be divisible"),
        ("data.columns={a", "command line (data.columns={a):1: not valid YAML"),
    ],
)
def test_wrong_overrides(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(overrides=[override])
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("name", list(config.presets()))
def test_presets_load_and_every_value_has_a_source(name: str) -> None:
    recipe = config.load(preset=name)
    assert recipe.preset == name
    text = (PRESETS / f"{name}.yaml").read_text()
    tree = yaml.safe_load(text)
    values = {
        (section, key): value for section, below in tree.items() for key, value in below.items()
    }
    for (section, key), value in values.items():
        assert recipe.model_dump()[section][key] == value, (section, key)
        assert re.fullmatch(rf"preset {name} \(.+\)", recipe.source(f"{section}.{key}"))
    assert max(len(line) for line in text.splitlines()) <= 100
    assert config.presets()[name] and config.load(overrides=config_overrides(recipe)) == recipe


def config_overrides(recipe: Recipe) -> list[str]:
    """A recipe written as overrides on the command line."""
    lines = [f"preset={recipe.preset}"]
    for section in SECTIONS:
        for key, value in recipe.model_dump()[section].items():
            told = list(value) if isinstance(value, tuple) else value
            lines.append(f"{section}.{key}={'' if told is None else told}")
    return lines


def test_presets_hold_the_papers_numbers() -> None:
    """Values read in the papers and their code, written down here a second time by hand."""
    ziegler, huang = config.load(preset="ziegler2019").ppo, config.load(preset="huang2024").ppo
    assert (ziegler.kl_coef, ziegler.kl_target, ziegler.kl_horizon) == (0.15, 6.0, 10_000.0)
    assert (ziegler.learning_rate, ziegler.batch_size, ziegler.max_tokens) == (1e-5, 512, 24)
    assert ziegler.whiten_rewards and not huang.whiten_rewards
    assert (huang.learning_rate, huang.max_tokens, huang.temperature) == (3e-6, 53, 0.7)
    assert huang.num_steps == 1_000_000 // 512 and ziegler.num_steps == -(-1_000_000 // 512)
    instruct = config.load(preset="instructgpt")
    assert instruct.ppo.num_steps * instruct.ppo.batch_size == 256_000
    assert instruct.ppo.batch_size / instruct.ppo.num_minibatches == 64
    assert (instruct.reward.learning_rate, instruct.reward.min_lr_fraction) == (9e-6, 0.1)
    assert (instruct.reward.tie_weight, instruct.collect.layout) == (0.0, "ranking")
    stiennon = config.load(preset="stiennon2020")
    assert (stiennon.sft.learning_rate, stiennon.reward.learning_rate) == (6.35e-5, 1.5e-5)
    assert config.load(preset="hh2022").ppo.kl_coef == 0.001
    dpo = config.load(preset="dpo2023").dpo
    assert (dpo.beta, dpo.learning_rate, dpo.batch_size, dpo.max_grad_norm) == (0.1, 5e-7, 64, 10.0)


# Dump and explain


def _random_value(annotation: Any, metadata: list[Any], draw: random.Random) -> Any:
    """A value that fits a field's type and bounds."""
    bounds: dict[str, Any] = {
        name: limit
        for part in metadata
        for name, limit in (
            ("ge", part.ge)
            if isinstance(part, annotated_types.Ge)
            else ("gt", part.gt)
            if isinstance(part, annotated_types.Gt)
            else ("le", part.le)
            if isinstance(part, annotated_types.Le)
            else ("lt", part.lt)
            if isinstance(part, annotated_types.Lt)
            else ("", None),
        )
    }
    if get_origin(annotation) is typing.Annotated:
        inner = get_args(annotation)
        fields = [m for part in inner[1:] for m in getattr(part, "metadata", [part])]
        return _random_value(inner[0], [*metadata, *fields], draw)
    if get_origin(annotation) is Literal:
        return draw.choice(get_args(annotation))
    options = [option for option in get_args(annotation) if option is not type(None)]
    if options and get_origin(annotation) is not dict:
        chosen = draw.choice(
            [*options, *(() if len(options) == len(get_args(annotation)) else (None,))]
        )
        return None if chosen is None else _random_value(chosen, metadata, draw)
    low, high = bounds.get("ge", bounds.get("gt", 0)), bounds.get("le", bounds.get("lt", 64))
    if annotation is bool:
        return draw.random() < 0.5
    if annotation is int:
        return draw.randint(max(1, int(low)), 64)
    if annotation is float:
        return low + (high - low) * draw.choice([1e-7, 0.3, draw.random() * 0.9 + 0.05])
    alphabet = "a1 :#'\"\n-~[]{}!&*%@é😀,"
    words = ["null", "1e-5", "yes", "0x1F", "1:30", "~", " x ", "- a", "# b"]
    text = "".join(draw.choices(alphabet, k=6))
    if annotation is str:
        return draw.choice([*words, text])
    return {draw.choice(words): text, "k": draw.choice(words)}


def _random_recipe(draw: random.Random) -> Recipe | None:
    sections = {
        name: {
            field: _random_value(info.annotation, list(info.metadata), draw)
            for field, info in section.model_fields.items()
            if draw.random() < 0.3
        }
        for name, section in SECTIONS.items()
    }
    try:
        return Recipe.model_validate({"seed": draw.randint(0, 2**40), **sections})
    except ValidationError:
        return None


def test_dump_of_random_recipes_loads_back_equal(tmp_path: Path) -> None:
    draw = random.Random(0)
    recipes = [recipe for _ in range(600) if (recipe := _random_recipe(draw)) is not None]
    assert len(recipes) >= 20
    for recipe in recipes[:60]:
        assert _load(tmp_path, config.dump(recipe)) == recipe


def test_dump_of_a_loaded_recipe_keeps_its_presets(tmp_path: Path) -> None:
    recipe = config.load(preset="ziegler2019", overrides=["ppo.kl_target=null", "seed=3"])
    again = _load(tmp_path, config.dump(recipe))
    assert again == recipe and again.ppo.kl_target is None and again.preset == "ziegler2019"


def test_explain_shows_each_value_and_its_origin(tmp_path: Path) -> None:
    text = "seed: 4\nsft:\n  learning_rate: 1e-4\n"
    shown = _shown(_load(tmp_path, text, preset="dpo2023", overrides=["ppo.gamma=0.9"]))
    rows = {
        cells[0]: cells[1:]
        for line in shown.splitlines()
        if line.startswith("│") and (cells := [cell.strip() for cell in line[1:-1].split("│")])
    }
    assert len(rows) == sum(len(s.model_fields) for s in SECTIONS.values()) + 3
    assert rows["ppo.gamma"] == ["0.9", "command line"]
    assert rows["seed"] == ["4", f"{tmp_path}/recipe.yaml:1"]
    assert rows["sft.learning_rate"] == ["0.0001", f"{tmp_path}/recipe.yaml:3"]
    assert rows["dpo.max_grad_norm"] == ["10.0", "preset dpo2023 (config.yaml: max_grad_norm)"]
    assert rows["ppo.kl_target"] == ["null", "default"]
    assert rows["sft.packing"] == ["true", "default"]


def test_equality_ignores_where_values_came_from(tmp_path: Path) -> None:
    assert _load(tmp_path, "seed: 1\n") == config.load(overrides=["seed=1"]) != Recipe()
    assert Recipe() != "recipe"
