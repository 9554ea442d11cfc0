"""Options of commands that are lengths of time, ages and moments; how text is read is in ``grpcflow.lengths``."""

from datetime import UTC, datetime, timedelta

import click

from grpcflow.lengths import parse_length

__all__ = ["length_option", "since_option"]


def length_option(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> timedelta | None:
    """Read a length of time: 90s, 10m, 1h30m, 30d, 1w; a bare number is seconds."""
    if text is None:
        return None
    try:
        return parse_length(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def since_option(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """Read a moment, ISO 8601, or an age such as 2h; a bare number could be either, and is neither."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _before_now(text)
    return moment if moment.tzinfo is not None else moment.astimezone()


def _before_now(text: str) -> datetime:
    try:
        if text.strip()[-1:].isdigit():
            raise ValueError(text)
        return datetime.now(UTC) - parse_length(text)
    except (ValueError, OverflowError):
        message = f"{text!r} is neither an age such as 90s, 15m, 2h or 7d, nor a moment such as 2030-01-31T12:00."
        raise click.BadParameter(message) from None
