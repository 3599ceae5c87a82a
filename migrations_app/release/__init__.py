"""Routes that migrations take, who must approve them, and when they may be applied."""
