"""The built-in study: an ordinary study whose world, bases and teacher are made here from nothing."""
