"""Every operation of the document, asked of a whole worker with all that its schema allows: answers are as promised."""

import time
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.integrations.openapi import DOCUMENT
from tests.support.hostile_flow import ADMIN, HostileFlow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
BUDGET_S = 15.0
"""For all operations together; each is asked at least once."""
AT_MOST_S = 0.5
NAME = "fuzzed"


def real_steps(flow: HostileFlow) -> dict[str, dict[str, str]]:
    """Names of things that there are, by the document's path: most that is made up leads nowhere."""
    found = {f"{path}.json": flow.steps(path) for path in flow.pages() if "{" in path}
    return {path: {name: str(value) for name, value in steps.items()} for path, steps in found.items()}


def test_every_operation_answers_as_the_document_says(hostile: HostileFlow) -> None:
    assert hostile.send("POST", "/api/v1/integrations", hostile.settings_of(NAME)).status == 201
    found: dict[str, Any] = hostile.see(DOCUMENT).json()
    steps = real_steps(hostile)
    schema = schemathesis.openapi.from_dict(found)
    operations = [each.ok() for each in schema.get_all_operations()]
    asked: dict[str, int] = {}
    until_s = time.monotonic() + BUDGET_S

    for operation in operations:
        ends_s = min(until_s, time.monotonic() + AT_MOST_S)
        count = 0

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[*HealthCheck])
        @given(case=operation.as_strategy(), is_real=st.booleans())
        def ask(case: Any, *, is_real: bool) -> None:
            nonlocal count
            if count and time.monotonic() > ends_s:  # noqa: B023 it is called before the next
                return
            count += 1
            if is_real and case.path_parameters:
                case.path_parameters = steps.get(case.path, {"id": NAME})
            case.call_and_validate(
                base_url=f"http://127.0.0.1:{hostile.port}",
                headers={"Authorization": f"Bearer {ADMIN}"},
                checks=CHECKS,
                timeout=30,
            )

        ask()
        asked[operation.label] = count

    assert len(asked) == sum(len(methods) for methods in found["paths"].values())
    assert min(asked.values()) >= 1
    assert "a page failed" not in hostile.log()
