"""What tests of stores and of the coordinator may use; nothing that runs in earnest imports it."""
