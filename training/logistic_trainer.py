"""The linear trainer under the name that its classifier is known by."""

from __future__ import annotations

from baton.core.policy import Task
from baton.training.linear_trainer import build, content

__all__ = ["build", "content", "tasks"]

tasks: tuple[Task, ...] = ("binary", "multiclass")
