"""The sections of a recipe that train: sft, reward, ppo and dpo."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from accord.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    Positive,
    Schedule,
    Section,
    Share,
    Smoothing,
    require,
)


class TrainingConfig(Section):
    """What SFT, reward and DPO training share; each section sets its own defaults."""

    learning_rate: Positive = 1e-5
    """Peak learning rate of AdamW."""

    num_epochs: Count = 1
    """Passes over the data."""

    batch_size: Count = 16
    """Records per optimizer step."""

    max_steps: Count | None = None
    """Stop after this many optimizer steps at the latest. None: only `num_epochs` counts."""

    schedule: Schedule = "linear"
    """How the learning rate falls after warm-up, until the last step."""

    warmup_fraction: Fraction = 0.0
    """Share of the steps over which the learning rate first rises from 0."""

    min_lr_fraction: Share = 0.0
    """Where the learning rate ends, as a share of its peak."""

    weight_decay: NonNegative = 0.0
    """AdamW's decoupled decay. 0: none of the papers behind the presets reports one."""

    adam_beta1: Fraction = 0.9
    """Decay of Adam's mean of gradients."""

    adam_beta2: Fraction = 0.999
    """Decay of Adam's mean of squared gradients."""

    adam_eps: Positive = 1e-8
    """Added to Adam's denominator."""

    max_grad_norm: Positive = 1.0
    """Gradients of a step are scaled down to this norm together."""

    heldout_fraction: Fraction = 0.1
    """Share of the training prompts kept back to measure the loss while training (split by prompt,
    so that no prompt is on both sides). 0: none."""

    eval_every: Count = 10
    """Optimizer steps between two measurements on the held-out part; the last step also counts."""

    micro_batch_tokens: Count = 2048
    """Tokens, padding included, in one forward pass. It bounds memory and changes the
    result by rounding alone: a batch is summed from as many passes as it takes."""

    checkpoint_every: Count = 1
    """Optimizer steps between checkpoints: a kill loses at most this many. Raise it when writing
    a checkpoint takes longer than a step."""


class SFTConfig(TrainingConfig):
    """Supervised fine-tuning on demonstrations: cross-entropy of the response tokens."""

    learning_rate: Positive = 2e-5
    """Peak learning rate of AdamW. 2e-5 suits 100 M-1 B parameters with little data; InstructGPT's
    1.3 B used 9.65e-6 (C.1), and 1 M-parameter models want 1e-3."""

    num_epochs: Count = 2
    """Passes over the demonstrations: 2 for a start of RL (InstructGPT, C.3)."""

    schedule: Schedule = "cosine"
    """How the learning rate falls after warm-up (InstructGPT, C.1: cosine)."""

    warmup_fraction: Fraction = 0.03
    """Share of the steps over which the learning rate first rises from 0."""

    min_lr_fraction: Share = 0.1
    """Where the learning rate ends, as a share of its peak (InstructGPT, C.1: 10 %)."""

    adam_beta2: Fraction = 0.95
    """Decay of Adam's mean of squared gradients (InstructGPT, appendix C)."""

    packing: bool = True
    """Lay several demonstrations in one row, each seeing only itself: no padding, same loss. Llama,
    Mistral and Qwen models are computed without padding in any case."""

    early_stop_patience: Count | None = None
    """Measurements without a better held-out loss before stopping with the best weights. None:
    train to the end (InstructGPT, C.1, found overfitted SFT policies the better start)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_early_stop(self.early_stop_patience, self.heldout_fraction)
        return self


class RewardConfig(TrainingConfig):
    """Reward model: Bradley-Terry loss on comparisons, all pairs of a prompt in one batch."""

    batch_size: Count = 16
    """Prompts per optimizer step, with all their comparisons (InstructGPT, section 3.5: pairs of
    one prompt spread over an epoch overfit)."""

    num_epochs: Count = 1
    """Passes over the comparisons: a second one overfitted at once in InstructGPT (C.2)."""

    adam_eps: Positive = 1e-5
    """Added to Adam's denominator (Huang et al. 2024: 1e-5 in all stages)."""

    heldout_fraction: Fraction = 0.2
    """Share of the prompts whose comparisons measure accuracy and calibration while training.
    0: none, and then there is no early stop either."""

    early_stop_patience: Count | None = 3
    """Measurements without a better held-out loss before stopping with the best weights. None:
    train to the end."""

    label_smoothing: Smoothing = 0.0
    """Probability that a verdict is the wrong way round. 0: every verdict is taken as given."""

    tie_weight: Share = 0.5
    """Weight of a tie, whose target is 0.5. 0: ties are dropped, as InstructGPT did (C.2); 1: they
    count like any verdict (Christiano et al. 2017, section 2.2.3)."""

    use_strength: bool = False
    """Take how sure a rater was as the probability that the label is right, (1 + strength) / 2, in
    place of 1; verdicts without a strength keep 1."""

    use_margin: bool = False
    """Ask for a score difference of at least the margin in the data (Llama 2, section 3.2.2)."""

    probe: bool = False
    """Fit the head on the untrained model's features first, by penalised logistic regression, and
    train everything from there (Kumar et al. 2022). False: the head starts at random, as in the
    papers; with fewer than thousands of steps its noise stays."""

    center_coef: NonNegative = 0.0
    """Weight of (score_a + score_b)^2, which keeps scores near 0 (Eisenstein et al. 2023: 0.01).
    0: off, scores are centred by `normalize_samples` instead."""

    normalize_samples: CountOrZero = 256
    """Completions of the SFT policy whose scores are brought to mean 0 and standard deviation 1
    after training (256 in Ziegler et al. 2019). KL coefficients are in these units. 0: raw."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_early_stop(self.early_stop_patience, self.heldout_fraction)
        require(
            self.normalize_samples != 1,
            "normalize_samples: 1 sample has no standard deviation; use 0 (off), or 2 or more",
            "normalize_samples",
        )
        return self


class DPOConfig(TrainingConfig):
    """Direct preference optimisation (Rafailov et al. 2023): no reward model, no sampling."""

    batch_size: Count = 16
    """Pairs per optimizer step."""

    warmup_fraction: Fraction = 0.1
    """Share of the steps over which the learning rate first rises from 0 (150 steps in the DPO
    repository)."""

    beta: Positive = 0.1
    """Strength of the pull to the reference policy; the KL coefficient of the RL problem that DPO
    solves. 0.1 as in the paper; smaller lets the policy move further."""

    label_smoothing: Smoothing = 0.0
    """Probability that a verdict is the wrong way round (conservative DPO). 0: plain DPO."""

    use_strength: bool = False
    """Take how sure a rater was as the probability that the label is right, (1 + strength) / 2, in
    place of 1; verdicts without a strength keep 1."""


class PPOConfig(Section):
    """Proximal policy optimisation of the reward model's score under a KL penalty.

    AdamW with betas 0.9 and 0.999, and ``adam_eps``, on policy and value model.
    """

    adam_eps: ClassVar[float] = 1e-5
    """Added to Adam's denominator; fixed, for PPO is tuned around it (Huang et al. 2024)."""

    num_steps: Count = 50
    """Rounds of: sample `batch_size` episodes, score them, update. Papers ran 500 to 2,000."""

    batch_size: Count = 64
    """Episodes (one prompt, one completion) per step. 512 in Ziegler, Stiennon and InstructGPT."""

    num_epochs: Count = 4
    """Passes over each step's episodes (Ziegler et al. 2019: 4; InstructGPT: 1)."""

    num_minibatches: Count = 1
    """Optimizer steps per pass; must divide `batch_size` (Ziegler: 1; InstructGPT: 8)."""

    learning_rate: Positive = 1e-5
    """Peak learning rate of the policy (Ziegler et al. 2019: 1e-5; at 7 B use 5e-7 to 3e-6)."""

    value_learning_rate: Positive = 1e-5
    """Peak learning rate of the value model (InstructGPT, C.4: 9e-6)."""

    schedule: Schedule = "linear"
    """How both learning rates fall until the last step (Ziegler, Stiennon, Huang: linear to 0)."""

    kl_coef: NonNegative = 0.05
    """Penalty per nat of KL to the reference policy (Stiennon et al. 2020: 0.05). It starts there
    and moves if `kl_target` is set."""

    kl_target: Positive | None = None
    """KL in nats per completion that the coefficient is steered to (Ziegler et al. 2019: 6).
    None: the coefficient stays fixed."""

    kl_horizon: Positive = 1000.0
    """Episodes over which the steering works: the coefficient changes by at most
    20 % x batch_size / kl_horizon a step (Ziegler: 10,000 of 1 M episodes; ours are fewer)."""

    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount per token. 1.0: none, as in every paper here; the reward comes once, at the end."""

    gae_lambda: Share = 0.95
    """Bias against variance of the advantages (GAE, Schulman et al. 2016; 0.95 in every paper)."""

    clip_range: Positive = 0.2
    """The probability ratio is clipped to 1 +- this (Schulman et al. 2017)."""

    value_clip_range: Positive = 0.2
    """The value prediction may move this far from the one made when sampling."""

    whiten_rewards: bool = False
    """Divide rewards by their standard deviation, keeping the mean (Ziegler's style tasks: yes;
    Huang et al. 2024 found it slightly worse)."""

    score_clip: Positive | None = None
    """Scores are clipped to +- this, in standard deviations of the reference policy's scores. None:
    no clipping."""

    missing_eos_penalty: NonNegative | None = 1.0
    """The score of a completion that did not end becomes minus this (Huang et al. 2024: 1, after
    normalisation). It teaches the policy to end. None: such a completion keeps its score."""

    temperature: Positive = 1.0
    """Divides the logits when sampling, and again in every log-probability (Ziegler and Huang:
    0.7)."""

    max_tokens: Count = 64
    """Longest completion in tokens (Ziegler: 24; Stiennon: 48; Huang: 53)."""

    max_grad_norm: Positive = 1.0
    """Gradients of a step are scaled down to this norm together, policy and value model apart."""

    value_warmup_steps: CountOrZero = 0
    """First steps that train only the value model (Secrets of RLHF I: critic pre-training)."""

    samples_every: Count = 5
    """Steps between two tables of samples for a person to read."""

    micro_batch_tokens: Count = 4096
    """Tokens, padding included, in one forward pass; bounds memory and changes
    the result by rounding alone."""

    generation_batch_size: Count = 32
    """Sequences decoded together: larger is faster until memory is full."""

    checkpoint_every: Count = 1
    """Steps between checkpoints: a kill loses at most this many."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.batch_size % self.num_minibatches == 0,
            f"batch_size ({self.batch_size}) must be divisible by num_minibatches "
            f"({self.num_minibatches})",
            "num_minibatches",
            "batch_size",
        )
        require(
            self.kl_target is None or self.kl_coef > 0,
            "kl_target steers kl_coef by multiplying it: start kl_coef above 0",
            "kl_coef",
            "kl_target",
        )
        require(
            self.value_warmup_steps < self.num_steps,
            f"value_warmup_steps ({self.value_warmup_steps}) leaves none of the {self.num_steps} "
            "num_steps for the policy",
            "value_warmup_steps",
            "num_steps",
        )
        return self


def _check_early_stop(patience: int | None, heldout_fraction: float) -> None:
    require(
        patience is None or heldout_fraction > 0,
        "early_stop_patience needs held-out records: raise heldout_fraction above 0, or set "
        "early_stop_patience to null",
        "heldout_fraction",
        "early_stop_patience",
    )
