"""Files as their authors publish them, read without running anything that is in them."""
