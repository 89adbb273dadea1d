"""The sections of a recipe that do not train: model, data, sample, collect, studio and evaluate."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    Name,
    NonNegative,
    Positive,
    Section,
    Share,
    require,
)


class ModelConfig(Section):
    """The language model that every stage starts from, and where and how it runs."""

    name: Name = "tiny"
    """What to start from: `tiny` (0.3-3 M parameters, pretrained here in under a minute), `smollm2`
    (SmolLM2-135M-Instruct), a Hugging Face folder, or a name on the hub."""

    revision: str | None = None
    """Commit, tag or branch of a hub model. None: the newest; pin it for a run you will repeat."""

    trainable: Literal["all", "lora", "top"] = "all"
    """Which weights learn. `all`: every one, as all papers behind the presets did. `lora`: low-rank
    adapters on the linear layers (Hu et al. 2021), to save memory. `top`: the last `top_layers`
    layers and the heads; policy, reference, reward and value model share the frozen rest, which
    saves both memory and time on a small machine."""

    top_layers: CountOrZero = 0
    """Number of layers that learn, counted from the output; only with `trainable: top`."""

    lora_rank: Count = 16
    """Rank of each adapter; only used with `trainable: lora`. 16 is peft's usual middle."""

    lora_alpha: Positive = 32.0
    """Adapters are scaled by lora_alpha / lora_rank; 2 is the common ratio."""

    template: Name | None = None
    """Chat template that turns a conversation into tokens: None (the tokenizer's own), `plain`
    (the texts alone), `chatml`, or the path of a .jinja file. It is fixed when the first model of
    a run is written: the policy and the reward model then read the same."""

    system: str | None = None
    """System message put before each conversation that has none. None: no message is added."""

    max_tokens: Count = 512
    """Longest sequence in tokens, prompt and completion together. Memory grows with it."""

    device: Name = "auto"
    """`auto` (cuda if there is one, else cpu), or a torch device such as `cpu` or `cuda:1`."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the weights. `auto`: float32, for bfloat16 is slower on most CPUs."""

    num_threads: Count | None = None
    """CPU threads for torch. None: torch's choice, the number of cores."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        top = self.trainable == "top"
        require(
            not top or self.top_layers > 0,
            "trainable: top needs top_layers, the number of layers that learn, of 1 or more",
            "top_layers",
            "trainable",
        )
        require(
            top or self.top_layers == 0,
            f"top_layers ({self.top_layers}) is only used with trainable: top, "
            f"but trainable is {self.trainable}",
            "top_layers",
        )
        require(
            self.template is None
            or self.template in ("plain", "chatml")
            or self.template.endswith(".jinja"),
            f"unknown template {self.template!r}: use null, plain, chatml, or a .jinja file",
            "template",
        )
        return self


class DataConfig(Section):
    """What goes in: demonstrations, prompts and, if you have them, comparisons.

    A source is `builtin:tiny`, `builtin:assistant`, a file or folder (jsonl, json, csv, parquet,
    each also as .gz), or the name of a hub dataset.
    """

    demonstrations: Name | None = None
    """Prompts with answers that people wrote, for SFT. None: nothing to imitate was given."""

    prompts: Name | None = None
    """Prompts for sampling, PPO and evaluation. None: those of the comparisons and the
    demonstrations."""

    comparisons: Name | None = None
    """Your own comparisons or rankings. Given, the stages sample and collect are skipped."""

    format: Name = "auto"
    """Shape of the rows (see the docs page on data formats). `auto`: recognised row by row."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Names of your columns, where they differ: accord's name -> yours, such as
    `{prompt: question, chosen: better}`."""

    eval_fraction: Fraction = 0.2
    """Share of the prompts held out, drawn by the seed: never trained on, in any stage, and only
    used to evaluate. 100 of them give a win rate an interval of about +-10 points."""

    max_bad_rows: CountOrZero = 0
    """Rows that may be unreadable before the run refuses to start; each is reported with file and
    line either way. 0: you decide about every one."""

    max_prompt_tokens: Count = 256
    """Longest prompt in tokens, chat template included. 256 is what the DPO repository uses."""


class SampleConfig(Section):
    """How candidate completions are drawn from a policy for people to compare."""

    num_candidates: int = Field(default=4, ge=2)
    """Completions per prompt that go to the raters: 4 as in Ziegler et al. 2019; InstructGPT used
    4 to 9. K candidates give K (K - 1) / 2 pairs."""

    temperature: Positive = 1.0
    """Divides the logits. 1.0 draws from the model as it is; lower is safer and less varied."""

    top_k: CountOrZero = 0
    """Draw only from the k likeliest tokens. 0: from all, so that log-probabilities are exact."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw only from the likeliest tokens that hold this probability together. 1.0: from all."""

    max_tokens: Count = 64
    """Longest completion in tokens."""

    batch_size: Count = 32
    """Sequences decoded together: larger is faster until memory is full."""

    best_of: Count = 1
    """Draw this many for each candidate and keep the best by a reward model (best-of-n, Stiennon
    et al. 2020, G.3; its KL is log n - (n - 1) / n). 1: keep all, no reward model needed."""


class CollectConfig(Section):
    """Who compares the candidates. Simulated raters have a known truth and, if asked, known faults.

    People judge in the studio (section ``studio``): then only ``raters``, ``pairs_per_prompt`` and
    ``judge_fraction`` count here.

    A simulated rater sees gold score + biases and prefers a to b with the Bradley-Terry
    probability 1 / (1 + exp(-(seen_a - seen_b) / rater_temperature)).
    """

    raters: Literal["simulated", "studio"] = "simulated"
    """Who judges. `simulated`: raters that follow a gold score. `studio`: people, in the web
    application that the section `studio` describes; the run goes on when their round is frozen."""

    num_raters: Count = 4
    """Number of simulated raters that share the work."""

    layout: Literal["pairs", "ranking"] = "pairs"
    """`pairs`: two completions at a time. `ranking`: all K at once (InstructGPT, section 3.4)."""

    pairs_per_prompt: CountOrZero = 0
    """Pairs judged per prompt, drawn at random from the K (K - 1) / 2. 0: all of them."""

    rater_temperature: NonNegative = 0.5
    """Noise, in units of the gold score: at a difference of one temperature 73 % of verdicts
    follow the gold score. 0: raters never err. People agree with each other in 72-77 % of cases
    (Stiennon et al. 2020, C.2)."""

    tie_margin: NonNegative = 0.0
    """Two completions whose gold scores differ by less than this are called a tie."""

    length_bias: float = 0.0
    """Gold score that ten more words are worth to the raters (planted fault; Singhal et al. 2023).
    0: none."""

    agreement_bias: float = 0.0
    """Gold score that one phrase of agreement with the user is worth to the raters (planted fault;
    Sharma et al. 2023). 0: none."""

    careless: Share = 0.0
    """Share of verdicts given at random (planted fault)."""

    left_click: Share = 0.0
    """Share of verdicts that take the left side unread (planted fault)."""

    gold: Name = "auto"
    """World that defines the gold score: `tiny` or `assistant`. `auto`: the one of the prompts."""

    judge_fraction: Fraction = 0.25
    """Share of the prompts whose comparisons the reward model never sees: they train the held-out
    judge that evaluates (the test PM of Bai et al. 2022, section 4.2). 0: no such judge."""

    guideline: str = "v1"
    """Version of the instructions the raters followed; kept with every verdict."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.careless + self.left_click <= 1,
            f"careless ({self.careless}) and left_click ({self.left_click}) are shares of the same "
            "verdicts: make their sum at most 1",
            "careless",
            "left_click",
        )
        require(
            self.layout == "pairs" or self.pairs_per_prompt == 0,
            f"pairs_per_prompt ({self.pairs_per_prompt}) is only used with layout: pairs; "
            "a ranking orders all candidates",
            "pairs_per_prompt",
            "layout",
        )
        return self


class StudioConfig(Section):
    """The round that people judge in the studio, where it is served, and how it is frozen."""

    task: Literal["compare", "rank", "chat", "demonstrate"] = "compare"
    """What people do. `compare`: choose between two answers. `rank`: order all K. `chat`: talk with
    the model and choose between two answers a turn (Bai et al. 2022). `demonstrate`: write the
    ideal answer."""

    purpose: Literal["train", "head_to_head"] = "train"
    """`train`: the labels become training data. `head_to_head`: a blind comparison of the policies
    in the run's report, scored beside the reward model's own prediction."""

    task_schema: Name | None = None
    """The questions on the screen: a preset (`hh`, `hhh`, `instructgpt`, `stiennon`,
    `christiano-text`) or the path of a YAML file. None: `instructgpt` to rank, else `hh`."""

    project: Name = "accord"
    """Project that the round belongs to; its rounds share the event log and the guideline."""

    name: Name = "round 1"
    """Name of the round. The same name again goes on with that round."""

    guideline: Name | None = None
    """Markdown file with the instructions that raters read and acknowledge. None: a short text."""

    overlap: Count = 1
    """Raters per item. Most of the papers' comparisons have one (Ouyang et al. 2022)."""

    calibration_share: Share = 0.15
    """Share of the items that three raters judge, so that agreement can be measured: 10-20 % in
    Stiennon et al. 2020, appendix C."""

    gold_items: Name | None = None
    """File of comparisons or rankings whose verdicts are known to be right. None: no such items."""

    gold_share: Share = 0.05
    """Share of a rater's tasks that have a known answer, if there are such items. Raters cannot
    tell them from others."""

    anchor_items: Name | None = None
    """File of pairs or lists that come again in each batch, to see whether judgment drifts, such
    as the SFT policy's answers beside the reference's (Stiennon et al. 2020, C.2). None: none."""

    anchor_share: Share = 0.05
    """Share of a rater's tasks that are anchors, if there are any."""

    training_items: Name | None = None
    """File of comparisons or rankings with known verdicts, which every rater judges first and is
    told what was right. None: raters start with the real items."""

    escalate_spread: Count | None = None
    """Ask two more raters when strengths on one item lie this many steps apart. None: never."""

    budget: Count | None = None
    """Judgments wanted; at this number the round is done. None: all items, `overlap` times."""

    show_draft: bool = False
    """To demonstrate: show the model's answer as a draft, and record whether it was used."""

    host: Name = "127.0.0.1"
    """Address to listen on. Raters on other machines need `0.0.0.0`, behind a TLS proxy."""

    port: int = Field(default=8765, ge=0, le=65535)
    """Port to listen on. 0: any that is free."""

    url: Name | None = None
    """Address that people type, such as `https://studio.example.org`, where a proxy stands before
    the studio. None: made of host and port."""

    database: Name | None = None
    """Where everything is kept: the path of a SQLite file, or a `postgresql+psycopg://` address.
    None: `studio.db` in the run's folder."""

    generator: Literal["accord", "openai"] = "accord"
    """Who answers in a chat and writes drafts. `accord`: its own sampler, in a second process.
    `openai`: a server that speaks the OpenAI protocol (vLLM, llama.cpp, Ollama)."""

    generator_url: Name | None = None
    """Base address of that server, such as `http://127.0.0.1:8000/v1`; only with `openai`."""

    generator_model: Name | None = None
    """The model that answers: a policy folder or hub name, or a name on the server. None: the
    run's SFT policy. To compare or rank, it answers the prompts that `accord studio fill` queues,
    and None: nobody does."""

    weights: Literal["none", "quality"] = "none"
    """`quality`: each label weighs as its rater's estimated reliability says. `none`: all alike."""

    aggregate: Literal["none", "majority", "soft"] = "none"
    """Several labels of one item stay apart (`none`), become the majority's, or one label with the
    share of each side (`soft`)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.purpose == "train" or self.task == "compare",
            f"purpose: head_to_head needs task: compare, not {self.task}",
            "purpose",
            "task",
        )
        server = self.generator == "openai"
        require(
            not server or bool(self.generator_url and self.generator_model),
            "generator: openai needs generator_url and generator_model",
            "generator",
        )
        require(
            server or self.generator_url is None,
            "generator_url is only used with generator: openai",
            "generator_url",
        )
        require(
            self.generator_url is None or self.generator_url.startswith(("http://", "https://")),
            f"generator_url must start with http:// or https://, not {self.generator_url!r}",
            "generator_url",
        )
        return self


class EvaluateConfig(Section):
    """How one policy is compared with another on held-out prompts."""

    num_samples: Count = 2
    """Completions per held-out prompt and policy. More narrow the interval; more prompts narrow it
    faster."""

    temperature: Positive = 1.0
    """Divides the logits. 1.0: the distribution that was trained."""

    max_tokens: Count = 64
    """Longest completion in tokens; as in training, or lengths cannot be compared."""

    batch_size: Count = 32
    """Sequences decoded together: larger is faster until memory is full."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of every interval on the page."""

    num_shown: CountOrZero = 12
    """Prompts shown side by side on the page, for a person to read."""

    win_margin: NonNegative = 0.0
    """A score must be higher by more than this to win; within it the pair is a tie."""
