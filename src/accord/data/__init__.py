"""Readers and writers for the data users have: HH, TRL, NeMo ranks, OpenAssistant, alpaca, ...

>>> from accord.data import read_comparisons, export
>>> comparisons = read_comparisons("pairs.jsonl", columns={"chosen": "better"})  # doctest: +SKIP
>>> export(comparisons, "trl.parquet", shape="trl-preference")  # doctest: +SKIP
"""

from accord.data.columns import COLUMNS
from accord.data.export import SHAPES, export
from accord.data.formats import FORMATS
from accord.data.read import (
    Dataset,
    read,
    read_comparisons,
    read_demonstrations,
    read_labels,
    read_prompts,
)
from accord.data.report import BadRow, Report
from accord.data.turns import make_prompt

__all__ = [
    "COLUMNS",
    "FORMATS",
    "SHAPES",
    "BadRow",
    "Dataset",
    "Report",
    "export",
    "make_prompt",
    "read",
    "read_comparisons",
    "read_demonstrations",
    "read_labels",
    "read_prompts",
]
