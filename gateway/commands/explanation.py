"""What the stages say to one request -> lines for people, or JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from gateway.denial import Denied


@dataclass(slots=True)
class Answer:
    """What one stage says. `granted` is None where it was not asked, or never refuses here."""

    stage: str
    granted: bool | None
    text: str
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Explanation:
    """All answers up to the first refusal."""

    answers: list[Answer] = field(default_factory=list)
    refusal: Denied | None = None

    def add(self, stage: str, text: str, **facts: object) -> None:
        """A stage that lets the request through."""
        self.answers.append(Answer(stage, True, text, facts))

    def tell(self, stage: str, text: str, **facts: object) -> None:
        """A stage that is described, not asked."""
        self.answers.append(Answer(stage, None, text, facts))


def print_for_people(explanation: Explanation) -> None:
    marks: Mapping[bool | None, str] = {True: click.style("✓", fg="green"), None: "·"}
    for answer in explanation.answers:
        click.echo(f"{marks[answer.granted]} {answer.stage:<13} {answer.text}")
    refusal = explanation.refusal
    if refusal is None:
        click.echo(f"\n{click.style('granted', fg='green', bold=True)} (nothing was forwarded)")
        return
    reason = refusal.reason
    click.echo(f"{click.style('✗', fg='red')} {reason.status} {reason.code}: {refusal.detail}")
    for label, text in (("rule", refusal.rule), ("note", refusal.note)):
        if text:
            click.echo(f"  {label}: {text}")
    click.echo(f"\n{click.style('denied', fg='red', bold=True)}")


def print_json(explanation: Explanation) -> None:
    refusal = explanation.refusal
    document: dict[str, object] = {
        "verdict": "denied" if refusal else "granted",
        "stages": [
            {"stage": one.stage, "asked": one.granted is not None, "text": one.text, **one.facts}
            for one in explanation.answers
        ],
    }
    if refusal is not None:
        document |= {
            "code": refusal.reason.code,
            "status": refusal.reason.status,
            "detail": refusal.detail,
            "rule": refusal.rule,
            "note": refusal.note,
        }
    click.echo(json.dumps(document, indent=2))
