"""Live migrations of one witness by different monitors, side by side (bench/README.md)."""
