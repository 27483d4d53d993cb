"""What runs the networks of a bundle: sessions, devices, caches."""
