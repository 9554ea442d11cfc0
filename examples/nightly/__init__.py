"""A night's work on a schedule: the tills of all shops are read, and a report is written, without a beat process."""

from nightly.app import app as app
