"""How the height of a screen is shared among panes. Pure."""

from collections.abc import Sequence

__all__ = ["shared"]


def shared(room: int, needs: Sequence[int], chosen: int | None) -> list[int]:
    """Return how many lines each pane gets; together they fill the room.

    None is larger than it needs while another one lacks lines; the chosen one counts double. What nobody needs is left
    to the last one, at the foot.

    Args:
        room: Lines there are.
        needs: Lines that each would fill.
        chosen: Which pane is looked at; None: none of these.
    """
    weights = [2 if at == chosen else 1 for at in range(len(needs))]
    heights = [0] * len(needs)
    left, hungry = room, set(range(len(needs)))
    while left > 0 and hungry:
        total = sum(weights[at] for at in hungry)
        parts = {at: max(1, left * weights[at] // total) for at in hungry}
        for at in sorted(hungry, key=lambda one: (-weights[one], one)):
            more = min(parts[at], needs[at] - heights[at], left)
            heights[at] += more
            left -= more
        hungry = {at for at in hungry if heights[at] < needs[at]}
    if needs:
        heights[-1] += left
    return heights
