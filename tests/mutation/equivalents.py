"""Lists the mutants that behave as the original does: place, line before, line after, and the reason.

A place is a module as a path without its ending, followed by ``.function`` if the same line elsewhere in the module is
not equivalent. Lines are compared by their text, so an entry has no effect once its line has changed.
"""

#: How calls are ordered for a batch that has not room for all.
CHOICE = (
    "return [head, *sorted(others, key=lambda call: %d if call.arrived <= overdue else abs(_length(call) - length))]"
)

#: The reason by place, line before and line after.
EQUIVALENTS: dict[tuple[str, str, str], str] = {
    (
        "batching/budget",
        "if self._tokens < self._most:",
        "if self._tokens <= self._most:",
    ): "the lines below add up to the most at most",
    (
        "batching/call",
        'self.results = [b""] * len(self.items)',
        'self.results = [b"XXXX"] * len(self.items)',
    ): "each place is filled before the results of a call are read",
    (
        "batching/isolation/rejection_rate",
        "while size > 1 and (1.0 - (1.0 - self.share) ** size) * (math.log2(size) + 0.5) > 1.0:",
        "while size >= 1 and (1.0 - (1.0 - self.share) ** size) * (math.log2(size) + 0.5) > 1.0:",
    ): "for one input the product is half the share, which is never more than one",
    (
        "batching/isolation/verdicts",
        'digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=16)',
        'digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), )',
    ): "a longer digest tells inputs apart as well",
    (
        "batching/isolation/verdicts",
        'digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=16)',
        'digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=17)',
    ): "a longer digest tells inputs apart as well",
    (
        "batching/isolation/verdicts",
        'digest.update(b"\\0" + item)',
        'digest.update(b"XX\\0XX" + item)',
    ): "another separator separates as well",
    (
        "batching/queue/lanes.Lane.__init__",
        "self.oldest = NEVER",
        "self.oldest = None",
    ): "a lane is opened for a call, which sets it before it is read",
    (
        "batching/queue/padding",
        CHOICE % -1,
        CHOICE % -2,
    ): "both come before every difference in length, which is 0 or more",
    (
        "upstream/monitor.UpstreamMonitor.__init__",
        "self._doubted = False",
        "self._doubted = True",
    ): "at the start there is no answer that could be doubted, and the first probe sets it to False",
    (
        "upstream/window",
        "if self._size < self._most:",
        "if self._size <= self._most:",
    ): "the next line grows it to the most at most",
}
