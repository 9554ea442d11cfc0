"""A census of the Python standard library, taken by a cluster: a chord of chords over real files."""

from census.app import app as app
