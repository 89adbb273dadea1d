"""Errors that a user can act on: what went wrong, where, and how to mend it.

Each class also derives from the standard-library class it refines, so that
``except ValueError`` keeps working for callers who do not know accord.
"""

from __future__ import annotations


class AccordError(Exception):
    """Base of every error accord raises on purpose."""


class ConfigError(AccordError, ValueError):
    """A recipe, a preset or a command-line override is wrong."""


class DataError(AccordError, ValueError):
    """Input data cannot be used; the message lists ``file:line: reason``."""


class ArtifactError(AccordError, RuntimeError):
    """An artifact is missing, damaged, of the wrong kind, or would be overwritten."""


class ModelError(AccordError, RuntimeError):
    """A model or tokenizer cannot be found, loaded or used for the purpose."""


class NonFiniteError(AccordError, ArithmeticError):
    """A loss, score, ratio or gradient was not finite; the batch was saved for inspection."""
