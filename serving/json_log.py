"""Logs as one JSON object a line: whatever a text holds, it cannot begin a line of its own."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

# What every log record has; anything else is a fact of its event.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
# A traceback's end says most.
LONGEST = 4_000


class JsonLines(logging.Formatter):
    """A record as one line: its moment, level, logger, event, and facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        facts = {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)[-LONGEST:]
        return line(record.levelname.lower(), record.getMessage(), logger=record.name, **facts)


def line(level: str, event: str, **facts: Any) -> str:
    """Give one event as a line of ASCII, in which every control character is escaped."""
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"at": moment, "level": level, "event": event[:LONGEST], **facts}, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """Send every logger's records to standard error, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their start and stop are said by our own events.
    for vendor in ("uvicorn", "bentoml", "httpx", "httpcore"):
        logging.getLogger(vendor).setLevel(logging.WARNING)
