"""How the items of one round are given out to raters."""

from __future__ import annotations

from pydantic import Field

from accord.config.fields import Count, CountOrZero, Name, Section, Seed, Share
from accord.config.generators import Speech


class RoundSettings(Section):
    """How the items of one round are given out."""

    overlap: Count = 1
    """Raters per item."""

    calibration_share: Share = 0.15
    """Share of the items that more raters see, to measure agreement. 0.10 to 0.20 in Stiennon et
    al. 2020, C.2."""

    calibration_overlap: Count = 3
    """Raters per item of the calibration pool; the agreement of three can be told from chance."""

    gold_share: Share = 0.05
    """Share of a rater's tasks whose right answer is known; never shown as such."""

    attention_share: Share = 0.02
    """Share of a rater's tasks that only ask whether the rater reads."""

    anchor_share: Share = 0.05
    """Share of a rater's tasks that return in every batch, to see raters drift (Stiennon et al.
    2020, C.2)."""

    batch_size: Count = 50
    """Tasks of one rater that make a batch: anchors return once a batch."""

    random_floor: Share = 0.3
    """Share of the ordinary tasks drawn at random whatever their priority, so that what the
    priorities bring can be measured (Christiano et al. 2017, section 3.3)."""

    lease_seconds: int = Field(default=900, ge=1, le=86_400)
    """Seconds that a task is held for a rater who does not answer."""

    seed: Seed = 0
    """Seed of every draw: order, sides and mix."""

    escalate_spread: int | None = Field(default=None, ge=1, le=8)
    """Distance between two judgments of one item, in strength steps from -steps to +steps, above
    which more raters are asked. None: never. Rankings: places of one response. HelpSteer2 asks
    two more above a spread of 2."""

    escalate_raters: Count = 2
    """Raters asked in addition, once an item; if they still differ, an adjudicator decides."""

    training_items: CountOrZero = 0
    """Training items that a rater must do before the real ones. 0: none."""

    training_pass: Share = 0.7
    """Share of the training items that must be right. Who falls short goes on with further
    training items."""

    training_seconds: float = Field(default=0.0, ge=0, le=3600)
    """Least median of the active seconds of these answers; who is faster did not read, and does not
    pass however right. 0: speed is not looked at."""

    show_draft: bool = False
    """Demonstrations: whether the model's draft is shown. Its use is recorded."""

    policies: tuple[Name, ...] = ()
    """Names, in the studio's configuration, of the policies that answer in a chat or draft a
    demonstration. One: both answers are its own. More: each answer has its own writer, drawn by
    the seed. Raters never see these names."""

    speech: Speech = Speech()
    """How these answers are drawn."""

    raters_note: str = Field(default="", max_length=2000)
    """Who the raters are, in the lead's words (languages, training, pay): for the data card of the
    frozen labels. Nobody is asked. Empty: not stated."""

    follows: str = Field(default="", max_length=64)
    """Id of the round that this one follows; set by :func:`accord.store.rounds.next_round`."""

    snapshot: str = Field(default="", max_length=128)
    """Hash of the frozen labels of that round, from which this one starts."""
