"""What people do to authority: approvals, restraint, suspension, kill."""
