"""
The cases, by family.
"""

from tests.differential.cases import fetch, groups, lookups, produce, topic_configs, topics, various
from tests.differential.talk import Case

FAMILIES: dict[str, list[Case]] = {
    "configs": topic_configs.CASES,
    "fetch": fetch.CASES,
    "groups": groups.CASES,
    "lookups": lookups.CASES,
    "produce": produce.CASES,
    "topics": topics.CASES,
    "various": various.CASES,
}

CASES: list[Case] = [case for cases in FAMILIES.values() for case in cases]
