from typing import Self

class Walker:
    def __new__(
        cls,
        count: int,
        base_timestamp: int,
        need_keys: bool,
        earliest: int,
        latest: int,
        max_flaws: int,
        sought: int | None = None,
        first_delta: int = 0,
        /,
    ) -> Self: ...
    def feed(self, piece: bytes | memoryview, /) -> bool: ...
    def finish(self) -> tuple[int, int, int, int, int, int, list[tuple[int, int, int]]]: ...

def is_sound(
    batch: bytes | memoryview, need_keys: bool, earliest: int, latest: int, /
) -> bool: ...
