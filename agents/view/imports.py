"""What comes of an import of integrations or webhooks: what was done, and how it is told."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from pipeline.errors import InvalidChangeError, ViewError
from pipeline.integrations.yaml_reading import Fate, Imported, ImportPlan
from pipeline.view.attention import counted


class Applied(NamedTuple):
    """What became of one entry of an import; ``problem`` is empty where it went well."""

    imported: Imported
    problem: str = ""


async def carry_out(plan: ImportPlan, change: Callable[[Imported], Awaitable[object]]) -> list[Applied]:
    """Have ``change`` do what ``plan`` says, one entry after the other; what fails is told and does not stop the rest.

    Raises ``InvalidChangeError`` where the plan has mistakes: nothing is done then.
    """
    if plan.mistakes:
        raise InvalidChangeError([(f"line {line} {key}".strip(), problem) for line, key, problem in plan.mistakes])
    done = []
    for imported in plan.entries:
        try:
            if imported.fate in {Fate.CREATE, Fate.REPLACE}:
                await change(imported)
        except ViewError as error:
            done.append(Applied(imported, str(error)))
        else:
            done.append(Applied(imported))
    return done


def shown_plan(plan: ImportPlan, applied: Iterable[Applied] = (), *, family: str = "integrations") -> dict[str, Any]:
    """What an import would do, or did; without secrets. ``family`` is the key of the list of entries."""
    problems = {each.imported.id: each.problem for each in applied}
    listed = [
        {
            "id": each.id,
            **({"kind": each.kind} if family == "integrations" else {}),
            "line": each.line,
            "fate": each.fate.value,
            "revision": each.revision,
            "differences": [difference._asdict() for difference in each.differences],
            "problem": problems.get(each.id) or None,
        }
        for each in plan.entries
    ]
    mistakes = [{"line": line, "key": key, "problem": problem} for line, key, problem in plan.mistakes]
    failed = sum(bool(problem) for problem in problems.values())
    told: dict[str, Any] = {
        "counts": {fate.value: plan.count(fate) for fate in Fate},
        family: listed,
        "problems": mistakes,
    }
    if mistakes:
        told["error"] = f"{counted(len(mistakes), 'mistake')}; nothing was changed"
    elif failed:
        told["error"] = f"{failed} of {len(listed)} could not be changed"
    return told
