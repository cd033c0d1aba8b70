"""mosec with its dynamic batching; it reads its port from the command line by itself."""

from __future__ import annotations

from typing import Any

from model import Row, score
from mosec import Server, Worker


class Scorer(Worker):  # type: ignore[misc] # mosec is not read for types
    """Scores a batch of requests."""

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, list[float]]]:
        """Score all rows of a batch together."""
        checked = [[Row.model_validate(row).__dict__ for row in body["rows"]] for body in data]
        scores = iter(score([row for rows in checked for row in rows]))
        return [{"scores": [next(scores) for _ in rows]} for rows in checked]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Scorer, num=1, max_batch_size=64, max_wait_time=1)
    server.run()
