"""What became of the mutants: the gates that have to be met, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlcvgrade.mutants.trials import Verdict


@dataclass(frozen=True)
class Gates:
    """What is asked of an exercise's checks.

    Attributes:
        hand_written: Least number of hand-written mutants per exercise, mistakes included.
        solutions: Least number of further correct solutions per exercise.
        public: Share of the hand-written mutants of an exercise that the public checks notice; more than that.
        named: Share of the noticed hand-written mutants that are named, per exercise and overall; at least that.
        automatic: Share of the automatic mutants, equivalent ones left out, that are noticed; at least that.
    """

    hand_written: int = 6
    solutions: int = 2
    public: float = 0.5
    named: float = 0.5
    automatic: float = 0.97


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What became of every trial of one exercise; name of the trial to its verdict.

    Attributes:
        exercise: Id of the exercise.
        stub: The release's untouched cells.
        solution: The solved notebook's functions, with public and hidden cases and several seeds.
        others: Other correct solutions.
        mutants: Hand-written mutants and the variants of mistakes, with hidden cases.
        public: The same with public cases alone.
        automatic: Automatic mutants.
        equivalent: Automatic mutants that are no mistake, and why.
        has_automatic: Whether automatic mutants were made at all.
    """

    exercise: str
    stub: Verdict
    solution: Mapping[str, Verdict]
    others: Mapping[str, Verdict]
    mutants: Mapping[str, Verdict]
    public: Mapping[str, Verdict]
    automatic: Mapping[str, Verdict] = field(default_factory=dict)
    equivalent: Mapping[str, str] = field(default_factory=dict)
    has_automatic: bool = True

    @property
    def killed(self) -> list[str]:
        """Hand-written mutants that the hidden checks notice."""
        return [name for name, verdict in self.mutants.items() if verdict.is_killed]

    @property
    def killed_by_public(self) -> list[str]:
        """Hand-written mutants that the public checks notice."""
        return [name for name, verdict in self.public.items() if verdict.is_killed]

    @property
    def named(self) -> list[str]:
        """Hand-written mutants that are noticed and whose finding says what the mistake is."""
        return [name for name in self.killed if self.mutants[name].is_named]

    @property
    def killed_automatic(self) -> list[str]:
        """Automatic mutants that the hidden checks notice."""
        return [name for name, verdict in self.automatic.items() if verdict.is_killed]

    @property
    def to_kill(self) -> list[str]:
        """Automatic mutants that are not declared equivalent."""
        return [name for name in self.automatic if name not in self.equivalent]

    @property
    def survivors(self) -> list[str]:
        """Automatic mutants that nobody notices and nobody explains."""
        return [name for name in self.to_kill if not self.automatic[name].is_killed]

    @property
    def stale(self) -> list[str]:
        """Explanations of mutants that do not exist, or are noticed after all."""
        return [k for k in self.equivalent if k not in self.automatic or self.automatic[k].is_killed]


def missed_gates(checked: Sequence[Checked], gates: Gates) -> list[str]:
    """Return one line for every gate that is missed; none if all is well."""
    missed = [f"{each.exercise}: {line}" for each in checked for line in _missed_by(each, gates)]
    killed, named = sum(len(each.killed) for each in checked), sum(len(each.named) for each in checked)
    if named < gates.named * killed:
        missed.append(f"overall: {named} of {killed} noticed mutants are named; expected at least {gates.named:.0%}")
    wanted = sum(len(each.to_kill) for each in checked)
    got = wanted - sum(len(each.survivors) for each in checked)
    if got < gates.automatic * wanted:
        missed.append(f"overall: {got} of {wanted} automatic mutants are noticed; expected {gates.automatic:.0%}")
    if not checked:
        missed.append("overall: there is no exercise to check")
    return missed


def _missed_by(each: Checked, gates: Gates) -> list[str]:
    missed = []
    if each.stub.earned > 0 or each.stub.could_not_check:
        missed.append(f"the stub earns {each.stub.earned:g} points; expected 0 ({each.stub.reason})")
    for what, verdicts in (("the solution", each.solution), ("the other solution", each.others)):
        for name, verdict in verdicts.items():
            if verdict.could_not_check or verdict.earned != verdict.possible:
                score = f"{verdict.earned:g} of {verdict.possible:g}"
                missed.append(f"{what} ({name}) earns {score} points: {verdict.reason}")
    if len(each.others) < gates.solutions:
        missed.append(f"{len(each.others)} other solutions; expected at least {gates.solutions}")
    if len(each.mutants) < gates.hand_written:
        missed.append(f"{len(each.mutants)} hand-written mutants; expected at least {gates.hand_written}")
    for name, verdict in each.mutants.items():
        if not verdict.is_killed:
            why = f" ({verdict.reason})" if verdict.could_not_check else ""
            missed.append(f"the hidden checks do not notice the mutant {name!r}{why}")
    if len(each.killed_by_public) <= gates.public * len(each.mutants):
        unseen = ", ".join(name for name in each.mutants if name not in each.killed_by_public)
        score = f"{len(each.killed_by_public)} of {len(each.mutants)}"
        missed.append(f"the public checks notice {score} mutants; expected more than {gates.public:.0%}; not {unseen}")
    if len(each.named) < gates.named * len(each.killed):
        unnamed = ", ".join(name for name in each.killed if name not in each.named)
        score = f"{len(each.named)} of {len(each.killed)}"
        missed.append(f"{score} noticed mutants are named; expected at least {gates.named:.0%}; not {unnamed}")
    if each.has_automatic:
        if each.survivors:
            missed.append(f"{len(each.survivors)} automatic mutants survive and are not explained")
        for name in each.stale:
            state = "is noticed" if name in each.automatic else "does not exist"
            missed.append(f"equivalent lists {name!r}, which {state}")
    return missed


def print_results(checked: Sequence[Checked], missed: Sequence[str], console: Console) -> None:
    """Print the table of both kinds of mutants, the survivors to explain, the missed gates, and the totals last."""
    table = Table(box=None, pad_edge=False)
    table.add_column("exercise", no_wrap=True)
    for heading in ("by hand", "public", "named", "automatic", "equivalent", "alive"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in checked:
        table.add_row(each.exercise, *_counts([each]))
    console.print(table)
    survivors = [(each.exercise, name) for each in checked for name in each.survivors]
    if survivors:
        console.print("\nunexplained survivors, by the key that goes into Hidden.equivalent if there is a true reason:")
        for exercise, name in survivors:
            console.print(f"  {escape(exercise)}  {escape(repr(name))}", highlight=False, soft_wrap=True)
    if missed:
        console.print("\ngates missed:")
        for line in missed:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    hand, public, named, automatic, equivalent, alive = _counts(checked)
    console.print(
        f"\n{len(checked)} exercises: hand-written {hand} killed, {public} by public checks, {named} named; "
        f"automatic {automatic} killed, {equivalent} equivalent, {alive} unexplained; "
        f"{'all gates met' if not missed else f'{len(missed)} gates missed'}",
        highlight=False,
        soft_wrap=True,
    )


def _counts(checked: Sequence[Checked]) -> list[str]:
    hand = sum(len(each.mutants) for each in checked)
    killed = sum(len(each.killed) for each in checked)
    to_kill = sum(len(each.to_kill) for each in checked)
    survivors = sum(len(each.survivors) for each in checked)
    return [
        f"{killed}/{hand}",
        f"{sum(len(each.killed_by_public) for each in checked)}/{hand}",
        f"{sum(len(each.named) for each in checked)}/{killed}",
        f"{to_kill - survivors}/{to_kill}",
        str(sum(len(each.automatic) - len(each.to_kill) for each in checked)),
        str(survivors),
    ]
