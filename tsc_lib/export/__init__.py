"""Models that run elsewhere: written with their card, and used there with numpy and their runtime alone."""
