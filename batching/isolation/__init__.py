"""How a refused batch is taken apart: the search, what it remembers, and how often inputs are refused."""
