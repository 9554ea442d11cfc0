"""The services: thin. They decode, post an event, wait and encode; no decision about tasks is made here."""
