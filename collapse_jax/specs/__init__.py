"""What each chain is: one frozen dataclass per subject, the only thing that theory and measurement share."""
