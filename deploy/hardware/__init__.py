"""What a real car is made of; `deploy.vehicles` puts it together."""
