"""Where a person says what they want of a driving car; each is a `deploy.driving.controls.Seat`."""
