"""The Python half of a chain through Node: words are counted and laid out here, and arranged there."""

from node_chain.app import app as app
