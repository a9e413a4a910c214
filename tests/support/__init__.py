"""What test scenarios share: see pillion_testing for the tour."""
