"""What each command does, callable from Python: a frozen config in, a result out."""
