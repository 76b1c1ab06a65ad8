"""Every point of the contract is named by a test that asks for it."""

import ast
import re
from pathlib import Path

import pytest

POINTS = range(20)


def named() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for points in re.findall(r"Contract ([\d, ]+):", ast.get_docstring(node) or ""):
                    for point in re.findall(r"\d+", points):
                        found.setdefault(int(point), []).append(f"{path.name}::{node.name}")
    return found


NAMED = named()


@pytest.mark.parametrize("point", POINTS)
def test_point_has_a_test(point):
    assert NAMED.get(point), f"No test in tests/contract names point {point} of the contract."


def test_no_other_points_are_named():
    assert set(NAMED) <= set(POINTS)
