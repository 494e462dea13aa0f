"""Where calls wait, and how batches are made up of them."""
