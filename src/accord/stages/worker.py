"""Worker: answers raters' conversations, streamed, as a process of its own beside the web server.

``python -m accord.stages.worker`` reads its configuration and its jobs from the pipe that
:mod:`accord.generator` describes; the web server starts it, and starts it again when it dies.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import TemplateError

from accord import artifacts
from accord.config.generators import AccordPolicy, GeneratorConfig
from accord.engine import SamplingParams, host
from accord.engine.streaming import Row, StreamingSampler
from accord.errors import AccordError, ModelError
from accord.generator import Answer, Job, Said, Say, open_pipe, serve
from accord.models.load import Policy, load_policy
from accord.openai_backend import OpenAIBackend
from accord.types import Message, Prompt


@dataclass
class _Speaker:
    """A loaded policy and the answers it is giving."""

    policy: Policy
    sampler: StreamingSampler
    model: str
    capacity: int
    answers: dict[str, Answer] = field(default_factory=dict)


class AccordBackend:
    """Speaks for the ``accord`` policies of a configuration; each is loaded at its first job.

    Args:
        config: where the policies are, and how many answers are under way together.
        say: where pieces of answers go.
    """

    def __init__(self, config: GeneratorConfig, say: Say) -> None:
        self._config, self._say = config, say
        self._speakers: dict[str, _Speaker] = {}
        host.prepare(config.num_threads)

    def load(self) -> None:
        """Load every policy now, so that no rater waits for it.

        One that cannot be loaded is left for its first job, which then fails and says why.
        """
        for name, policy in self._config.policies.items():
            if isinstance(policy, AccordPolicy):
                try:
                    self._speakers[name] = self._load(policy)
                except AccordError:
                    continue

    def start(self, job: Job) -> None:
        """Let an answer join those under way."""
        speaker = self._speakers.get(job.policy)
        if speaker is None:
            policy = self._config.policies[job.policy]
            assert isinstance(policy, AccordPolicy)
            speaker = self._speakers[job.policy] = self._load(policy)
        tokens = _encode(speaker, job)
        speech = job.speech
        params = SamplingParams(
            max_tokens=speech.max_tokens,
            temperature=speech.temperature,
            top_k=speech.top_k,
            top_p=speech.top_p,
            seed=speech.seed,
            key=(job.key,),
        )
        speaker.sampler.add(job.id, tokens, params)
        speaker.answers[job.id] = Answer(job.id, self._say)

    def cancel(self, job: str) -> None:
        """Break an answer off."""
        for speaker in self._speakers.values():
            if speaker.answers.pop(job, None) is not None:
                speaker.sampler.remove(job)

    def step(self) -> bool:
        """One token for every answer under way."""
        for speaker in self._speakers.values():
            if not speaker.sampler.idle:
                for row in speaker.sampler.step():
                    self._tell(speaker, row)
        return any(not speaker.sampler.idle for speaker in self._speakers.values())

    def close(self) -> None:
        """Nothing is kept that would need putting away."""
        self._speakers.clear()

    def _tell(self, speaker: _Speaker, row: Row) -> None:
        answer = speaker.answers.get(row.name)
        if answer is None:  # broken off
            return
        text = speaker.policy.text(row.tokens)
        if row.done:
            del speaker.answers[row.name]
            answer.done(text, finished=row.finished, model=speaker.model)
        else:
            answer.grow(text)

    def _load(self, config: AccordPolicy) -> _Speaker:
        # Nothing trains here; the decoder need not look for changed weights either.
        policy = load_policy(config.source, config.model)
        policy.network.model.requires_grad_(False)
        capacity = min(config.model.max_tokens, _context(policy))
        sampler = StreamingSampler(policy, self._config.max_together, capacity)
        return _Speaker(policy, sampler, _written_by(config.source), capacity)


def _written_by(source: str) -> str:
    """How completions name the policy: an artifact by its content, anything else by its name."""
    if (Path(source) / "manifest.json").is_file():
        return artifacts.read(source).hash
    return source


def _context(policy: Policy) -> int:
    """Positions that the model knows; models without such a limit say nothing."""
    known = policy.network.model.config.to_dict().get("max_position_embeddings")
    return int(known) if known else 1 << 30


def _encode(speaker: _Speaker, job: Job) -> list[int]:
    """The conversation's tokens; where it is too long, its oldest turns are left out.

    Raises:
        ModelError: the last message alone is too long, or the template refuses the conversation.
    """
    room = speaker.capacity - job.speech.max_tokens
    messages: tuple[Message, ...] = job.messages
    while messages:
        try:
            tokens = speaker.policy.chat.encode(speaker.policy.tokenizer, Prompt("", messages))
        except TemplateError as error:
            raise ModelError(f"{job.policy}: the chat template refuses this: {error}") from error
        if len(tokens) <= room:
            return tokens
        messages = _without_oldest(messages)
    raise ModelError(
        f"{job.policy}: the message is too long: {len(tokens)} tokens, and {room} are left beside "
        f"an answer of {job.speech.max_tokens}"
    )


def _without_oldest(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the first user message and its answer; a system message stays; () if one is left."""
    system = tuple(m for m in messages[:1] if m.role == "system")
    turns = messages[len(system) :]
    cut = next((i for i, m in enumerate(turns) if i and m.role == "user"), len(turns))
    return system + turns[cut:] if turns[cut:] else ()


def main() -> None:
    """The worker with torch."""
    pipe = open_pipe()
    config = pipe.first()
    os.nice(config.niceness)
    pipe.say(Said("beat"))
    own = AccordBackend(config, pipe.say)
    own.load()
    serve(pipe, {"accord": own, "openai": OpenAIBackend(config, pipe.say)}, config)


if __name__ == "__main__":
    main()
