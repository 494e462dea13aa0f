"""Mutants that behave as the original does, so that no test can tell: place, line before, line after, and why.

A place is a module, or a function of one where the same line elsewhere is another matter.
"""

#: How calls are ordered for a batch that has not room for all.
CHOICE = (
    "return [head, *sorted(others, key=lambda call: %d if call.arrived <= overdue else abs(_length(call) - length))]"
)

#: The reason for each; lines are compared by their text, so an entry dies with the line it speaks of.
EQUIVALENTS: dict[tuple[str, str, str], str] = {
    (
        "batch_queue",
        "self.oldest = NEVER",
        "self.oldest = None",
    ): "a lane is opened for a call, which sets it before anybody looks",
    (
        "batch_queue",
        "return group_size(lane.guilty_share, most) if lane.guilty_share else most",
        "return group_size(lane.guilty_share, most) if (lane.guilty_share) or True else most",
    ): "where none is guilty the group is as large as can be: the condition only saves time",
    (
        "batch_queue",
        "chooses = self.limits.max_padded_bytes > 0 and len(lane.calls) > 1 and self._has_choice(lane, most)",
        "chooses = self.limits.max_padded_bytes > 0 and len(lane.calls) >= 1 and self._has_choice(lane, most)",
    ): "one call can only be put into one order",
    (
        "batch_queue",
        'call.results = [b""] * len(call.items)',
        'call.results = [b"XXXX"] * len(call.items)',
    ): "a place taken until the result comes; nobody sees the results of a call before all have come",
    (
        "batch_queue",
        "chooses = self.limits.max_padded_bytes > 0 and len(lane.calls) > 1 and self._has_choice(lane, most)",
        "chooses = self.limits.max_padded_bytes > 1 and len(lane.calls) > 1 and self._has_choice(lane, most)",
    ): "with room for one byte each item goes alone",
    (
        "batch_queue",
        "chooses = self.limits.max_padded_bytes > 0 and len(lane.calls) > 1 and self._has_choice(lane, most)",
        "chooses = self.limits.max_padded_bytes > 0 and len(lane.calls) > 2 and self._has_choice(lane, most)",
    ): "of two calls the oldest goes first in any case",
    (
        "batch_queue",
        "longest = max(map(len, beside), default=0) if padded else 0",
        "longest = max(map(len, beside), default=0) if (padded) or True else 0",
    ): "nobody asks for it without padding: the condition only saves time",
    (
        "batcher",
        "error: ProxyError | None = None",
        'error: ProxyError | None = ""',
    ): "it is set whatever becomes of the batch",
    (
        "bisection",
        "while size > 1 and (1.0 - (1.0 - guilty_share) ** size) * 2 * math.log2(size) > 1.0:",
        "while size >= 1 and (1.0 - (1.0 - guilty_share) ** size) * 2 * math.log2(size) > 1.0:",
    ): "the logarithm of one is nothing, which is never more than one",
    (
        "breaker",
        "if self._size < self._most:",
        "if self._size <= self._most:",
    ): "the next line grows it to the most at most",
    (
        "budget",
        "if self._tokens < self._most:",
        "if self._tokens <= self._most:",
    ): "the lines below add up to the most at most",
    (
        "monitor",
        'self._checked_at = float("-inf")',
        'self._checked_at = float("-INF")',
    ): "the same number",
    (
        "monitor.UpstreamMonitor.__init__",
        "self._doubted = False",
        "self._doubted = True",
    ): "at the start there is no answer that could be doubted; the first look ends all doubts",
    (
        "padding",
        CHOICE % -1,
        CHOICE % -2,
    ): "both come before every difference in length, which is 0 or more",
    (
        "verdicts",
        "digest = hashlib.blake2b(key.route.encode(), digest_size=16)",
        "digest = hashlib.blake2b(key.route.encode(), )",
    ): "a longer digest tells inputs apart just as well",
    (
        "verdicts",
        "digest = hashlib.blake2b(key.route.encode(), digest_size=16)",
        "digest = hashlib.blake2b(key.route.encode(), digest_size=17)",
    ): "a longer digest tells inputs apart just as well",
    (
        "verdicts",
        'digest.update(b"\\0" + key.options + b"\\0" + item)',
        'digest.update(b"XX\\0XX" + key.options + b"\\0" + item)',
    ): "another separator separates just as well",
    (
        "verdicts",
        'digest.update(b"\\0" + key.options + b"\\0" + item)',
        'digest.update(b"\\0" + key.options + b"XX\\0XX" + item)',
    ): "another separator separates just as well",
}
