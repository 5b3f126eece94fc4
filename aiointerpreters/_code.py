"""What code reads: the names in a code object, in a text, and the lines that it was made of."""

import sys

_CodeType = type((lambda: None).__code__)


def names_in(code) -> tuple[set[str], frozenset[str]]:
    """The global names that `code` and the code nested in it read; and all names in it."""
    global_opcodes, extended_arg, load_global = _opcodes()
    read = set()
    mentioned = set()
    pending = [code]
    while pending:
        code = pending.pop()
        names = code.co_names
        mentioned.update(names)
        pending.extend(item for item in code.co_consts if type(item) is _CodeType)
        units = code.co_code
        argument = 0
        for position in range(0, len(units), 2):
            opcode = units[position]
            argument |= units[position + 1]
            if opcode == extended_arg:
                argument <<= 8
                continue
            if opcode in global_opcodes:
                # Its lowest bit says whether a NULL is pushed as well.
                read.add(names[argument >> 1 if opcode == load_global else argument])
            argument = 0
    return read, frozenset(mentioned)


def names_in_texts(texts) -> set[str]:
    """The names that annotations written as strings read; of what is no expression, none."""
    read = set()
    for text in texts:
        try:
            read |= names_in(compile(text, "<annotation>", "eval"))[0]
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
    return read


def texts_in(value) -> list[str]:
    """All strings in a code object's constants, or in an annotation that is a string."""
    if type(value) is str:
        return [value]
    if type(value) is not _CodeType:
        return []
    return [text for item in value.co_consts for text in texts_in(item)]


_known_opcodes: tuple | None = None


def _opcodes() -> tuple[frozenset[int], int, int]:
    """(Opcodes that read a global by name, EXTENDED_ARG, LOAD_GLOBAL)."""
    global _known_opcodes
    if _known_opcodes is None:
        from opcode import opmap  # a worker that only loads has no need of it

        names = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
        reading = frozenset(opmap[name] for name in names)
        _known_opcodes = reading, opmap["EXTENDED_ARG"], opmap["LOAD_GLOBAL"]
    return _known_opcodes


def source_of(code) -> tuple[str, str, bool] | None:
    """The source of code that another interpreter could not read: of a prompt, a cell, `-c`.

    Returns:
        The file's name, its text as the caller's `linecache` has it, and whether that is kept
        there by the code, since others have a file of that name; None if there is none.
    """
    linecache = sys.modules.get("linecache")
    if linecache is None:
        return None
    name = code.co_filename
    try:
        entry = linecache.cache.get(name)
        is_by_code = entry is None
        if is_by_code:
            entry = linecache._interactive_cache.get(linecache._make_key(code))
        # Without a time there is no file. (An entry of one item is a file not read yet.)
        if entry is None or len(entry) == 1 or entry[1] is not None:
            return None
        return name, "".join(entry[2]), is_by_code
    except Exception:  # anybody writes to these, and some of it is private
        return None
