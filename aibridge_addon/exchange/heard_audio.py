"""Measures the audio that a client sends in a session, for the estimate of its next response."""


class HeardAudio:
    """Seconds of audio that no response, and no transcript, has read yet."""

    def __init__(self) -> None:
        self._all = 0.0
        """Seconds since the session began."""
        self._buffered = 0.0
        self._committed = 0.0
        self._untranscribed = 0.0

    def append(self, seconds: float) -> None:
        """Add audio to the buffer."""
        self._all += seconds
        self._buffered += seconds

    def add(self, seconds: float) -> None:
        """Add audio to the conversation."""
        self._committed += seconds

    def commit(self) -> None:
        """Move the buffer to the conversation."""
        self._committed += self._buffered
        self._untranscribed += self._buffered
        self._buffered = 0.0

    def clear(self) -> None:
        """Drop the buffer."""
        self._buffered = 0.0

    def start_speech(self, at: float) -> None:
        """Drop the silence before a person began to speak, in seconds of the session."""
        self._buffered = min(self._buffered, max(0.0, self._all - at))

    def end_response(self) -> None:
        """Forget what a response has read."""
        self._committed = 0.0

    def end_transcript(self) -> None:
        """Forget what a transcript has read."""
        self._untranscribed = 0.0

    @property
    def for_response(self) -> float:
        """Seconds that the next response would read."""
        return self._committed + self._buffered

    @property
    def for_transcript(self) -> float:
        """Seconds that the next transcript would read."""
        return self._untranscribed + self._buffered
