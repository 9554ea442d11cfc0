"""What runs when. Every worker tells the coordinator when it starts, and the coordinator calls: there is no beat."""

from datetime import timedelta

from grpcflow.schedules import crontab
from nightly.app import app
from nightly.tasks import night, open_shops

HALF_PAST_TWO = crontab(hour=2, minute=30)

app.conf.beat_schedule = {
    "nightly": {
        "signature": night(),
        "schedule": HALF_PAST_TWO,
        "overlap": "skip",  # a night that takes longer than a day is not joined by the next one
        "catch_up": timedelta(hours=6),  # a report that is later than breakfast helps nobody
    },
    "opening": {"signature": open_shops.s(), "schedule": crontab(hour=8, minute=0, day_of_week="mon-sat")},
}
