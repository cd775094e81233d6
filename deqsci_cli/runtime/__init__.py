"""The process itself: devices, threads, signals, readers of their own, events."""
