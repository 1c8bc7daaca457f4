"""A target's name and libFuzzer's arguments -> a run of atheris."""

import shlex
import sys

import atheris


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    name = sys.argv.pop(1)
    # a merge gives this to a shell, to run itself again
    sys.argv[0] = shlex.join([sys.executable, "-m", "tests.fuzz.one", name])
    with atheris.instrument_imports(include=["gateway"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
