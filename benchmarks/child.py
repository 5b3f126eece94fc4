"""Run one measure for one contestant, once, in this process; run.py starts it.

    python child.py MEASURE CONTESTANT [--quick]

Prints one line of JSON: {"figures": {NAME: [SAMPLE, …] or WHY there are none}}, {"absent": WHY}
(nothing, where there is no floor) or {"error": WHY}.
"""

import argparse
import json
import os
import re
import sys
from importlib import import_module
from types import ModuleType

from contestants import CONTESTANTS, FLOOR


def outcome(measure: ModuleType, name: str, quick: bool) -> dict[str, object]:
    """What to print."""
    contestant = CONTESTANTS[name]
    if sys.version_info < contestant.minimum:
        return {"absent": "needs Python {}.{}".format(*contestant.minimum)}
    if name == FLOOR and not hasattr(measure, "floor"):
        return {"absent": ""}
    if reason := getattr(measure, "ABSENT", {}).get(name):
        return {"absent": reason}
    try:
        if name == FLOOR:
            return {"figures": measure.floor(quick)}
        return {"figures": measure.run(contestant, quick)}
    except Exception as error:
        text = re.sub(r"\b0x[0-9a-f]+", "0x…", str(error))  # addresses differ from run to run
        return {"error": f"{type(error).__name__}: {text}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("measure")
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    measure = import_module(f"measures.{options.measure}")
    result = outcome(measure, options.contestant, options.quick)
    print(json.dumps(result), flush=True)
    if "error" in result:
        os._exit(0)  # a pool that a failed measure left behind must not keep the benchmark waiting


if __name__ == "__main__":
    main()
