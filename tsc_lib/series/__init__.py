"""Series as files hold them and as a model takes them: read, scaled and padded, with nothing but numpy."""
