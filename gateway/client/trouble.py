"""What can go wrong for somebody at a command line -> one sentence, what to do about it, and an exit code."""

from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes. Those above 2 are sysexits(3), so that no job's own code is easily taken for one."""

    DONE = 0
    REFUSED_BY_SLURM = 1
    WRONG_CALL = 2
    UNFIT_DATA = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    LOCAL_FILE = 74
    UNDECIDED = 75
    UNREADABLE_ANSWER = 76
    NOT_PERMITTED = 77
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "Done.",
    Exit.REFUSED_BY_SLURM: "Slurm said no (unknown job, invalid partition, not your job), or what was asked is not so.",
    Exit.WRONG_CALL: "The command line is wrong, or there is no gateway to ask; nothing was sent.",
    Exit.UNFIT_DATA: "A script or a JSON file cannot be used; nothing was sent.",
    Exit.NO_INPUT: "A file cannot be read; nothing was sent.",
    Exit.UNAVAILABLE: "The gateway, the identity provider or Slurm cannot be reached, is too slow or too busy.",
    Exit.LOCAL_FILE: "A file or a keyring of this machine cannot be written or read.",
    Exit.UNDECIDED: "Whether something happened is not known; the message says how to find out.",
    Exit.UNREADABLE_ANSWER: "What answered does not speak as a gateway or an identity provider does.",
    Exit.NOT_PERMITTED: "Not signed in, the sign-in is over, or the gateway does not allow it.",
    Exit.INTERRUPTED: "Ctrl-C.",
}


class Trouble(Exception):
    """One sentence for people, what to do, and the exit code. Never holds a secret."""

    def __init__(
        self, code: Exit, sentence: str, remedy: str = "", *, problem: str = "", status: int = 0
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.remedy = remedy
        self.problem = problem
        """The gateway's code of a refusal, such as rate-exceeded; empty where it has none."""
        self.status = status
        """The HTTP status it came with; 0 where there was none."""
        self.never_ran = False
        """Whether what was asked certainly never reached Slurm."""
        self.is_strangers = False
        """Whether neither the gateway nor Slurm said it, but somebody in between."""
        self.is_no_address = False
        """Whether slurmrestd does not serve what was asked for, as after an upgrade that drops an API version."""
        self.retry_after_seconds: float | None = None
        """When to ask again, where the gateway says so."""

    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "error": self.sentence,
            "remedy": self.remedy,
            "code": self.problem,
            "status": self.status,
            "exit_code": int(self.code),
        }


def printable(text: object, limit: int = 400) -> str:
    """Words of somebody else's in one line that cannot speak to the terminal."""
    shown = "".join(one if one.isprintable() else " " for one in str(text))
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
