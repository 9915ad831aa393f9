"""One module for each data type: its value in memory, its effects, its rows."""
