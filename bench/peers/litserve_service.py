"""LitServe with its batching."""

import sys
from typing import Any

import litserve
from fastapi import Request
from model import Row, score


class Api(litserve.LitAPI):  # type: ignore[misc] # LitServe has no types
    """Scores a batch of requests."""

    def setup(self, device: str) -> None:
        """Nothing to set up: the model is loaded with its module."""

    def decode_request(self, request: Request) -> list[dict[str, Any]]:
        """Check a request's rows; the annotation makes LitServe hand over its JSON."""
        return [Row.model_validate(row).__dict__ for row in request["rows"]]

    def predict(self, batch: list[list[dict[str, Any]]]) -> list[list[float]]:
        """Score all rows of a batch together."""
        scores = iter(score([row for rows in batch for row in rows]))
        return [[next(scores) for _ in rows] for rows in batch]

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """Give a request's scores."""
        return {"scores": output}


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error"
    )
