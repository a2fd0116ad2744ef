"""docs/distillation.md: its example runs, and what it says of the code is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lnnc.train.dlnet.data import EVERY, FIRST, SHARE
from lnnc.train.dlnet.plan import Plan

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "distillation.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(example, "docs/distillation.md", "exec"), names)
    assert names["done"].steps == 40 and 0 < float(names["error"].detach()) < 1
    assert names["compiled"].program.output_size == 10
    assert any(weight.grad is not None for weight in names["twin"].parameters())
    assert sum(names["left"].shape.decoder) + sum(names["left"].shape.encoder) == 24


def test_the_recipe_is_the_one_that_is_used() -> None:
    plan = Plan()
    words = " ".join(TEXT.split())
    assert plan.teacher_steps == plan.student_steps and plan.teacher_lr == plan.student_lr == plan.recovery_lr == 1e-3
    assert f"batch {plan.batch}, {plan.student_steps:,} steps" in words and "rate up to 1e-3" in words
    assert "(63 epochs)" in words and round(plan.student_steps * plan.batch / 6084) == 63
    assert (FIRST, EVERY, SHARE) == (1, 10, 0.8) and "cycles 1, 11, 21" in words and "random 80 %" in words
    assert plan.always == (4, 16) and plan.recovery_epochs == 20
