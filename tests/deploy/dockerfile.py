"""A Dockerfile as Docker reads it, as far as ours goes, and which files its .dockerignore lets through."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Instruction:
    """One instruction with its words."""

    keyword: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form; anything else is a defect of ours: it would need a shell."""
        found = json.loads(self.text[self.text.index("[") :])
        assert isinstance(found, list)
        return [str(each) for each in found]


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, keyword: str) -> list[Instruction]:
        return [each for each in self.instructions if each.keyword == keyword]

    def last(self, keyword: str) -> Instruction:
        return self.of(keyword)[-1]


def stages(path: Path) -> list[Stage]:
    """All stages; what is before the first FROM stands in one without a base."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = [Stage("", "")]
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].instructions.append(Instruction(keyword, rest.strip()))
    return found


def context(root: Path, files: list[str]) -> list[str]:
    """Which of these files are sent to Docker: the last pattern that fits decides."""
    lines = [line.strip() for line in (root / ".dockerignore").read_text().splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    sent = []
    for name in files:
        ignored = False
        for pattern in patterns:
            if _fits(name, pattern.removeprefix("!")):
                ignored = not pattern.startswith("!")
        if not ignored:
            sent.append(name)
    return sent


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern names the file or a folder above it."""
    path = PurePosixPath(name)
    above = [path, *path.parents][:-1]
    expression = re.compile(
        "".join(
            {"**/": "(?:.*/)?", "*": "[^/]*"}.get(part, re.escape(part))
            for part in re.split(r"(\*\*/|\*)", pattern)
        )
    )
    return any(expression.fullmatch(each.as_posix()) for each in above)
